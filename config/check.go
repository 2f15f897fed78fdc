package config

import (
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Check validates the settings of a server, and completes those that derive
// from others: secrets are read from their files, PublicURL from Addr (it
// stays empty if the port is 0, which is known only when listening), Workers
// from the machine. Its error is Problems. A Config that has passed passes
// again, unchanged.
func (c *Config) Check() error {
	var p Problems
	c.Server.check(&p)
	c.Database.check(&p)
	c.Storage.check(&p)
	c.checkIdentity(&p)
	c.DevKeys.check(&p, c.Auth == "dev")
	c.Limits.check(&p)
	c.Quotas.check(&p)
	c.Processing.check(&p)
	c.Insights.check(&p)
	c.Graph.check(&p)
	c.Log.check(&p)
	return p.err()
}

// CheckDev is Check for "reprise dev", which makes its own database, storage
// and key: it requires none, and changes none.
func (c *Config) CheckDev() error {
	var p Problems
	c.Server.check(&p)
	c.checkIdentity(&p)
	c.Limits.check(&p)
	c.Quotas.check(&p)
	c.Processing.check(&p)
	c.Insights.check(&p)
	c.Graph.check(&p)
	c.Log.check(&p)
	return p.err()
}

// CheckMigrate is Check for what applying migrations needs.
func (c *Config) CheckMigrate() error {
	var p Problems
	c.Database.check(&p)
	c.Neo4j.check(&p)
	c.Log.check(&p)
	return p.err()
}

// CheckGraph is Check for what writing and comparing the graph needs, which is a graph too.
func (c *Config) CheckGraph() error {
	var p Problems
	c.Database.check(&p)
	c.Neo4j.check(&p)
	if c.Neo4jURL == "" {
		p.add("REPRISE_NEO4J_URL", "needed: a Neo4j server, such as bolt://127.0.0.1:7687")
	}
	return p.err()
}

// CheckDatabase is Check for what needs the database alone.
func (c *Config) CheckDatabase() error {
	var p Problems
	c.Database.check(&p)
	return p.err()
}

// CheckFsck is Check for what comparing the database with the storage needs.
func (c *Config) CheckFsck() error {
	var p Problems
	c.Database.check(&p)
	c.Storage.checkURL(&p)
	if c.DeletedRetention < 0 {
		p.add("REPRISE_DELETED_RETENTION", "it must not be negative")
	}
	return p.err()
}

// CheckToken is Check for making development tokens, where not giving a key is
// allowed: there is another place to look for it.
func (d *DevKeys) CheckToken() error {
	var p Problems
	d.check(&p, false)
	return p.err()
}

func (s *Server) check(p *Problems) {
	addrOK := checkAddr(p, "REPRISE_ADDR", s.Addr)
	adminOK := checkAddr(p, "REPRISE_ADMIN_ADDR", s.AdminAddr)
	if addrOK && adminOK && s.Addr == s.AdminAddr && !strings.HasSuffix(s.Addr, ":0") {
		p.add("REPRISE_ADMIN_ADDR", "it is REPRISE_ADDR's; the two listeners need two addresses")
	}
	if s.PublicURL != "" {
		s.PublicURL = strings.TrimSuffix(s.PublicURL, "/")
		if !isOrigin(s.PublicURL) {
			p.add("REPRISE_PUBLIC_URL", "%q is not http:// or https:// with a host and nothing more", s.PublicURL)
		}
	} else if addrOK {
		s.derivePublicURL(p)
	}
	for i, origin := range s.AllowedOrigins {
		s.AllowedOrigins[i] = strings.TrimSpace(origin)
		if !isOrigin(s.AllowedOrigins[i]) {
			p.add("REPRISE_ALLOWED_ORIGINS", "%q is not an origin as a browser sends it: https:// and a host in lower case, and nothing more", origin)
		}
	}
	positive(p, "REPRISE_SHUTDOWN_TIMEOUT", s.ShutdownTimeout)
}

func (s *Server) derivePublicURL(p *Problems) {
	host, port, _ := net.SplitHostPort(s.Addr)
	ip, err := netip.ParseAddr(host)
	switch {
	case host == "" || err == nil && ip.IsUnspecified():
		p.add("REPRISE_PUBLIC_URL", "needed, because REPRISE_ADDR (%s) is every address of the machine and does not say which one clients use", s.Addr)
	case port != "0":
		s.PublicURL = "http://" + s.Addr
	}
}

func (d *Database) check(p *Problems) {
	secretFromFile(p, "REPRISE_DATABASE_URL", &d.DatabaseURL, &d.DatabaseURLFile)
	if d.DatabaseURL == "" {
		p.require("REPRISE_DATABASE_URL", "needed: postgres://user:password@host:5432/database, or REPRISE_DATABASE_URL_FILE")
		return
	}
	u, err := url.Parse(string(d.DatabaseURL)) // its error quotes the URL
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		p.add("REPRISE_DATABASE_URL", "not a postgres:// URL; are special characters of the password percent-encoded?")
	}
}

// What a URL of S3 holds besides the bucket is for package storage/s3 to check,
// which app asks before anything is started.
func (s *Storage) check(p *Problems) {
	s.checkURL(p)
	if s.UploadMemory < minUploadMemory {
		p.add("REPRISE_UPLOAD_MEMORY", "it must be at least %v: a few parts of uploads", minUploadMemory)
	}
	if s.InlineBytes > maxInlineBytes {
		p.add("REPRISE_INLINE_BYTES", "it must be at most %v", maxInlineBytes)
	}
	if s.InlineRate <= 0 {
		p.add("REPRISE_INLINE_RATE", "it must be more than 0; REPRISE_INLINE_BYTES=0 keeps nothing in the database")
	}
	if s.Reads != "direct" && s.Reads != "server" {
		p.add("REPRISE_READS", "%q is not direct or server", s.Reads)
	}
	if s.WorkDir != "" && (!filepath.IsAbs(s.WorkDir) || filepath.Clean(s.WorkDir) == "/") {
		p.add("REPRISE_WORK_DIR", "%q is not an absolute folder, such as /var/lib/reprise/work", s.WorkDir)
	}
}

const (
	minUploadMemory Bytes = 32 << 20
	maxInlineBytes  Bytes = 8 << 20
)

func (s *Storage) checkURL(p *Problems) {
	if s.StorageURL == "" {
		p.add("REPRISE_STORAGE_URL", "needed: file:///absolute/folder or s3://bucket")
		return
	}
	u, err := url.Parse(s.StorageURL) // its error would quote what may be a password
	switch {
	case err == nil && u.Scheme == "s3" && u.User != nil:
		p.add("REPRISE_STORAGE_URL", "credentials don't belong into it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use what else the AWS SDK knows")
	case err == nil && u.Scheme == "s3" && u.Host != "":
	case err == nil && u.Scheme == "file" && u.Host == "" && path.IsAbs(u.Path) && path.Clean(u.Path) != "/" && u.RawQuery == "" && u.Fragment == "":
	default:
		p.add("REPRISE_STORAGE_URL", "neither file:/// with an absolute folder, such as file:///var/lib/reprise, nor s3:// with a bucket, such as s3://recordings/reprise?region=eu-central-1")
	}
}

// StorageFolder returns the folder that StorageURL names, "" if it is S3. The
// Config has passed Check.
func (s Storage) StorageFolder() string {
	u, err := url.Parse(s.StorageURL)
	if err != nil || u.Scheme != "file" {
		return ""
	}
	return path.Clean(u.Path)
}

func (l *Limits) check(p *Problems) {
	if l.MaxUploadBytes <= 0 {
		p.add("REPRISE_MAX_UPLOAD_BYTES", "it must be more than 0")
	}
	positive(p, "REPRISE_MIN_DURATION", l.MinDuration)
	positive(p, "REPRISE_MAX_DURATION", l.MaxDuration)
	if l.MinDuration > 0 && l.MaxDuration > 0 && l.MaxDuration <= l.MinDuration {
		p.add("REPRISE_MAX_DURATION", "%v is not more than REPRISE_MIN_DURATION, %v", l.MaxDuration, l.MinDuration)
	}
	positive(p, "REPRISE_UPLOAD_EXPIRY", l.UploadExpiry)
	if l.DeletedRetention < 0 {
		p.add("REPRISE_DELETED_RETENTION", "it must not be negative")
	}
}

func (w *Processing) check(p *Problems) {
	if w.Sandbox != "best-effort" && w.Sandbox != "required" {
		p.add("REPRISE_SANDBOX", "%q is not best-effort or required", w.Sandbox)
	}
	if w.Workers < 0 || w.Workers > 1000 {
		p.add("REPRISE_WORKERS", "it must be 1 to 1000, or 0 for the number of CPUs")
	}
	if w.Workers == 0 {
		w.Workers = runtime.GOMAXPROCS(0) // knows a container's limit, unlike NumCPU
	}
}

func (l *Log) check(p *Problems) {
	switch l.LogLevel {
	case "debug", "info", "warn", "error":
	default:
		p.add("REPRISE_LOG_LEVEL", "%q is not debug, info, warn or error", l.LogLevel)
	}
	switch l.LogFormat {
	case "json", "text":
	default:
		p.add("REPRISE_LOG_FORMAT", "%q is not json or text", l.LogFormat)
	}
}

// Level returns LogLevel as slog knows it. The Config has passed Check.
func (l Log) Level() slog.Level {
	var level slog.Level
	_ = level.UnmarshalText([]byte(l.LogLevel)) // stays at info
	return level
}

// secretFromFile moves the content of the secret's file, if one is named, into
// the secret.
func secretFromFile(p *Problems, name string, secret *Secret, file *string) {
	if *file == "" {
		return
	}
	if *secret != "" {
		p.add(name, "it and %s_FILE are both set; set one", name)
		return
	}
	text, err := os.ReadFile(*file)
	if err != nil {
		p.add(name+"_FILE", "%v", err)
		return
	}
	*secret = Secret(strings.TrimRight(string(text), "\r\n"))
	if *secret == "" {
		p.add(name+"_FILE", "%s is empty", *file)
		return
	}
	*file = ""
}

// require adds that a secret is missing, unless its file has been complained
// about already.
func (p *Problems) require(name, message string) {
	for _, other := range *p {
		if strings.HasPrefix(other, name+"_FILE:") {
			return
		}
	}
	p.add(name, "%s", message)
}

func positive(p *Problems, name string, d time.Duration) {
	if d <= 0 {
		p.add(name, "it must be more than 0")
	}
}

func checkAddr(p *Problems, name, addr string) bool {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		p.add(name, "%q is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080", addr)
	}
	return err == nil
}

// isLoopback reports whether only this machine can reach addr. Of names, only
// localhost is sure to be such.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return true // checkAddr complains
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// isOrigin reports whether text is an origin as RFC 6454, 6.2, writes it.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Hostname() != "" &&
		u.Scheme+"://"+u.Host == text && strings.ToLower(text) == text && !strings.Contains(text, "*")
}
