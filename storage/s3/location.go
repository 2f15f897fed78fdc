package s3

// DefaultPartSize is the size of multipart parts, in bytes, unless a location
// says another.
const DefaultPartSize = 8 << 20

// Location says where a store lies, and how to speak to its server.
type Location struct {
	Bucket    string
	Prefix    string // of every name; "" or without slashes at its ends
	Endpoint  string // the server's URL; "" means AWS
	Region    string // "" means the SDK's own choice
	PathStyle bool   // the bucket is in the path, not in the host's name

	// Checksum says that a CRC32C goes with every part and object.
	Checksum bool
	SSE      string // server-side encryption: "", "AES256" or "aws:kms"
	KMSKeyID string // for "aws:kms"; "" means the account's own key

	PartSize int64 // bytes of a multipart part; 0 means DefaultPartSize
}

func (l Location) below(name string) string {
	if l.Prefix == "" {
		return name
	}
	return l.Prefix + "/" + name
}
