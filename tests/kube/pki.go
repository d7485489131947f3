package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// pki writes a CA, the serving certificate, an administrator's kubeconfig and the service-account keys.
func pki(port int) {
	os.Remove(file("admin.kubeconfig"))
	caKey, _ := writeKey("ca")
	ca := template("kubetest-ca")
	ca.IsCA, ca.KeyUsage = true, x509.KeyUsageCertSign|x509.KeyUsageDigitalSignature
	caPEM := writePEM("ca.crt", "CERTIFICATE", must(x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)))
	leaf := func(name string, certificate *x509.Certificate) (crt, key []byte) {
		private, keyPEM := writeKey(name)
		der := must(x509.CreateCertificate(rand.Reader, certificate, ca, &private.PublicKey, caKey))
		return writePEM(name+".crt", "CERTIFICATE", der), keyPEM
	}
	server := template("kube-apiserver")
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv4(10, 0, 0, 1)}
	server.DNSNames = []string{"localhost", "kubernetes.default.svc"}
	leaf("apiserver", server)
	admin := template("kubetest-admin", "system:masters")
	admin.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	crt, key := leaf("admin", admin)
	accounts, _ := writeKey("sa")
	writePEM("sa.pub", "PUBLIC KEY", must(x509.MarshalPKIXPublicKey(&accounts.PublicKey)))
	text := base64.StdEncoding.EncodeToString
	check(os.WriteFile(file("admin.kubeconfig"), []byte(fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: kubetest, cluster: {server: "https://127.0.0.1:%d", certificate-authority-data: %s}}]
users: [{name: admin, user: {client-certificate-data: %s, client-key-data: %s}}]
contexts: [{name: kubetest, context: {cluster: kubetest, user: admin}}]
current-context: kubetest
`, port, text(caPEM), text(crt), text(key))), 0o600))
}

func writePEM(name, kind string, der []byte) []byte {
	block := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	check(os.WriteFile(file(name), block, 0o600))
	return block
}

func writeKey(name string) (*ecdsa.PrivateKey, []byte) {
	key := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return key, writePEM(name+".key", "PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(key)))
}

func template(name string, organization ...string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, big.NewInt(1<<62))),
		Subject:      pkix.Name{CommonName: name, Organization: organization},
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
}
