package s3

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
)

// Advice says in a sentence what an operator can do about an error of a Store,
// "" if there is nothing better to say than the error itself. It may ask for the
// credentials anew.
func (s *Store) Advice(ctx context.Context, err error) string {
	if err == nil {
		return ""
	}
	if advice := s.adviceOn(errorCode(err)); advice != "" {
		return advice
	}
	var dns *net.DNSError
	var unknown x509.UnknownAuthorityError
	var wrongName x509.HostnameError
	var notTLS tls.RecordHeaderError
	at := s.o.Location.Endpoint
	switch {
	case errors.As(err, &dns):
		return fmt.Sprintf("The host %s is not known; is the endpoint of the URL right?", dns.Name)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Sprintf("Nothing listens at %s; is the server running, and the endpoint of the URL right?", at)
	case errors.As(err, &unknown), errors.As(err, &wrongName):
		return fmt.Sprintf("The certificate of %s is not one that this machine trusts for that name; install its authority's.", at)
	case errors.As(err, &notTLS), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Sprintf("%s does not speak TLS; is the endpoint http:// and not https://?", at)
	}
	if _, keysErr := s.client.Options().Credentials.Retrieve(ctx); keysErr != nil {
		return "There are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use what else the AWS SDK knows, such as a profile or the machine's role."
	}
	return ""
}

// adviceOn is Advice on what a server names code
// (https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html).
func (s *Store) adviceOn(code string) string {
	bucket := s.o.Location.Bucket
	switch code {
	case "NoSuchBucket":
		return fmt.Sprintf("There is no bucket %s there: create it, or correct the URL.", bucket)
	case "AccessDenied", "AllAccessDisabled", "Forbidden":
		return fmt.Sprintf("The credentials may not write to the bucket %s: their policy lacks s3:PutObject or what else docs/operations.md lists, or the bucket's own policy forbids it.", bucket)
	case "InvalidAccessKeyId":
		return "The server does not know the access key; is it one of this server, and of the right account?"
	case "SignatureDoesNotMatch":
		return "The secret key is not that of the access key, or a proxy on the way changes requests."
	case "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
		return "The credentials have expired or lack their session token; renew them."
	case "RequestTimeTooSkewed", "RequestExpired":
		return "The clock of this machine differs from the server's by more than it allows; set it, and keep it by NTP."
	case "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "MovedPermanently", "IllegalLocationConstraintException", "InvalidRegion":
		return fmt.Sprintf("The bucket %s is in another region than the requests say: add region=… to the URL, and check the endpoint.", bucket)
	case "InvalidBucketName":
		return fmt.Sprintf("%q is not a name that a bucket can have; is the URL s3://bucket/prefix?…, and path-style=true set if the server needs that?", bucket)
	case "NotImplemented", "UnsupportedOperation", "InvalidRequest", "InvalidArgument":
		return "The server does not know something that was sent; try checksum=none, and leave out sse."
	}
	if strings.HasPrefix(code, "KMS.") {
		return "The key of kms-key-id can't be used; is it enabled, in the bucket's region, and do the credentials have kms:GenerateDataKey and kms:Decrypt on it?"
	}
	return ""
}
