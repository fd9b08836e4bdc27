#!/bin/sh
# Certificates for one Dask cluster: docker/cluster/certificates.sh FOLDER [DAYS]
#
# This writes to FOLDER a certificate authority for this cluster (ca.pem, ca.key) and one certificate
# with its key (cluster.pem, cluster.key) for the scheduler, the workers and the submitters. Dask accepts
# every certificate of the authority, whatever its name, so do not use the authority for anything else.
# Copy all files except ca.key to every machine, readable only by the user of the cluster.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 FOLDER [DAYS]" >&2
    exit 2
fi
folder=$1
days=${2:-825}
if [ -e "$folder/ca.key" ] || [ -e "$folder/cluster.key" ]; then
    echo "$folder already contains keys; choose another folder" >&2
    exit 1
fi

umask 077
mkdir -p "$folder"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days "$days" \
    -subj "/CN=screening cluster authority" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign" \
    -keyout "$folder/ca.key" -out "$folder/ca.pem" 2> /dev/null
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
    -subj "/CN=screening cluster" \
    -keyout "$folder/cluster.key" -out "$folder/cluster.csr" 2> /dev/null
printf 'basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n' \
    > "$folder/cluster.ext"
openssl x509 -req -in "$folder/cluster.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" \
    -CAcreateserial -days "$days" -extfile "$folder/cluster.ext" -out "$folder/cluster.pem" 2> /dev/null
rm -f "$folder/cluster.csr" "$folder/cluster.ext" "$folder/ca.srl"
echo "$folder: copy ca.pem, cluster.pem and cluster.key to every machine; do not copy ca.key"
