package redis_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/usance/usance/redis/redistest"
)

// certificates is a folder with two certificates of this machine and their keys:
// one that this process trusts, and one that it does not.
var certificates string

func TestMain(m *testing.M) {
	err := makeCertificates()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(certificates)
		os.Exit(code)
	}))
}

func makeCertificates() (err error) {
	if certificates, err = os.MkdirTemp("", "usance-redis-tls"); err != nil {
		return err
	}
	return errors.Join(
		os.Chmod(certificates, 0o755), //nolint:gosec // the server's user reads it
		makeCertificate("trusted"), makeCertificate("strange"),
		// It is read once, at the first connection.
		os.Setenv("SSL_CERT_FILE", filepath.Join(certificates, "trusted.pem")))
}

func makeCertificate(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	public, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return err
	}
	path := filepath.Join(certificates, name)
	return errors.Join(
		os.WriteFile(path+".pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public}), 0o644),  //nolint:gosec // likewise
		os.WriteFile(path+".key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o644)) //nolint:gosec // likewise
}

// By TLS the server's certificate is looked at.
func TestTLS(t *testing.T) {
	t.Parallel()
	path := filepath.Join(certificates, "trusted")
	_, url := redistest.StartTLS(t, path+".pem", path+".key")
	r := open(t, url, "", io.Discard)
	eventually(t, "it is used", func() bool {
		r.Put(t.Context(), "k", []byte("v"))
		_, ok := r.Get(t.Context(), "k")
		return ok
	})

	path = filepath.Join(certificates, "strange")
	_, url = redistest.StartTLS(t, path+".pem", path+".key")
	var log record
	r = open(t, url, "", &log)
	if err := r.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a certificate that nobody vouches for: %v", err)
	}
	if r.Degraded() == "" || !strings.Contains(log.String(), "certificate") {
		t.Errorf("it is not told:\n%s", log.String())
	}
}
