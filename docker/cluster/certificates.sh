#!/bin/sh
# Certificates for one Dask cluster: docker/cluster/certificates.sh FOLDER [DAYS]
#
# FOLDER gets an authority of this cluster alone (ca.pem, ca.key) and one certificate with its key
# (cluster.pem, cluster.key) for the scheduler, the workers and whoever gives them films. Dask takes
# whoever has a certificate of the authority, whatever its name, so use it for nothing else. Copy all
# but ca.key to every machine, readable for the cluster's user alone; keep ca.key away from them.
set -eu

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 FOLDER [DAYS]" >&2
    exit 2
fi
folder=$1
days=${2:-825}
if [ -e "$folder/ca.key" ] || [ -e "$folder/cluster.key" ]; then
    echo "$folder holds keys already; choose another folder" >&2
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
echo "$folder: ca.pem, cluster.pem and cluster.key for every machine; ca.key for none of them"
