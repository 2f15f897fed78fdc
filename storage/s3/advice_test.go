package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"reprise/internal/s3test"
)

// storeAt is a store at an endpoint.
func storeAt(t *testing.T, endpoint string, changes ...func(*Options)) *Store {
	t.Helper()
	return newStore(t, "s3://recordings?region=eu-central-1&endpoint="+endpoint, changes...)
}

// advise has a store check itself and returns the advice on what that says.
func advise(t *testing.T, s *Store) string {
	t.Helper()
	err := s.Check(context.Background())
	if err == nil {
		t.Fatal("Check found nothing wrong")
	}
	return s.Advice(context.Background(), err)
}

func TestAdviceOnWhatServersSay(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]string{
		"NoSuchBucket":                 "create it",
		"AccessDenied":                 "s3:PutObject",
		"InvalidAccessKeyId":           "access key",
		"SignatureDoesNotMatch":        "secret key",
		"ExpiredToken":                 "renew",
		"RequestTimeTooSkewed":         "clock",
		"PermanentRedirect":            "region=",
		"AuthorizationHeaderMalformed": "region=",
		"InvalidBucketName":            "path-style",
		"NotImplemented":               "checksum=none",
		"KMS.DisabledException":        "kms-key-id",
		"SomethingElse":                "",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>no</Message></Error>`, code)
			}))
			defer server.Close()
			got := advise(t, storeAt(t, server.URL))
			if !strings.Contains(got, want) || (got == "") != (want == "") {
				t.Errorf("the advice is %q, want %q", got, want)
			}
		})
	}
}

func TestAdviceOnNetworks(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(secure.Close)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	for endpoint, want := range map[string]string{
		"http://" + free.Addr().String(): "Nothing listens at",
		secure.URL:                       "certificate",
		strings.Replace(plain.URL, "http", "https", 1): "does not speak TLS",
	} {
		if got := advise(t, storeAt(t, endpoint)); !strings.Contains(got, want) {
			t.Errorf("%s: the advice is %q, want %q", endpoint, got, want)
		}
	}
}

func TestAdviceWithoutCredentials(t *testing.T) {
	t.Parallel()
	s := storeAt(t, "http://127.0.0.1:1")
	s.client = s3.New(s.client.Options(), func(o *s3.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{}, errors.New("there is no role")
		})
	})
	if got := advise(t, s); !strings.Contains(got, "AWS_ACCESS_KEY_ID") {
		t.Errorf("the advice is %q", got)
	}
}

func TestAdviceOnRealServers(t *testing.T) {
	t.Parallel()
	onServers(t, func(t *testing.T, server *s3test.Server) {
		s := newStore(t, server.URL("there-is-no-such-bucket"))
		if got := advise(t, s); !strings.Contains(got, "There is no bucket there-is-no-such-bucket") {
			t.Errorf("the advice is %q", got)
		}
	})
}
