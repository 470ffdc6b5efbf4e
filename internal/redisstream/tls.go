package redisstream

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// tlsConfig builds the TLS side of a connection; errors name the file.
func tlsConfig(caFile, certFile, keyFile string, log *slog.Logger) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pool, err := authorities(caFile)
		if err != nil {
			return nil, fmt.Errorf("CA file %s: %w", caFile, err)
		}
		cfg.RootCAs = pool
	}
	if certFile == "" && keyFile == "" {
		return cfg, nil
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("client certificate %s with key %s: %w", certFile, keyFile, err)
	}
	if err := current(pair.Leaf); err != nil {
		return nil, fmt.Errorf("client certificate %s: %w", certFile, err)
	}
	if info, err := os.Stat(keyFile); err == nil && info.Mode().Perm()&0o077 != 0 {
		log.Warn("private key can be read by other users of this machine; chmod 600", "file", keyFile, "mode", info.Mode().Perm())
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// authorities returns the system's certificate authorities and those of file.
func authorities(file string) (*x509.CertPool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	usable, problem := 0, errors.New("no PEM certificate in it")
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err == nil {
			err = current(cert)
		}
		if err != nil {
			problem = err
			continue
		}
		pool.AddCert(cert)
		usable++
	}
	if usable == 0 {
		return nil, problem
	}
	return pool, nil
}

func current(cert *x509.Certificate) error {
	if now := time.Now(); now.After(cert.NotAfter) {
		return fmt.Errorf("expired on %s", cert.NotAfter.Format(time.DateOnly))
	}
	return nil
}
