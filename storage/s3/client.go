package s3

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// newClient makes the SDK's client. Credentials come from its own chain:
// environment, shared files, and what the machine or the cluster provides.
func (s *Store) newClient(ctx context.Context) (*s3.Client, error) {
	location := s.o.Location
	cfg, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, fmt.Errorf("s3: load the configuration of the AWS SDK: %w", err)
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		if location.Endpoint != "" {
			o.BaseEndpoint = &location.Endpoint
		}
		if location.Region != "" {
			o.Region = location.Region
		}
		o.UsePathStyle = location.PathStyle
		if s.o.HTTPClient != nil {
			o.HTTPClient = s.o.HTTPClient
		}
		// Checksums are made here, once, as the bytes flow by; the SDK's own way would
		// read a body twice, or send it in chunks that some servers don't know.
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}), nil
}
