// Package config loads the server's settings, gives each its default,
// validates them all in one place, and documents them.
//
// A setting has one name in three places: the flag --max-duration, the
// environment's REPRISE_MAX_DURATION, and the same name in a file. The tags of
// Config are the only list: help, sample file and documentation come from
// them. A flag wins over the environment, that over the file, that over the
// default; an empty value is the same as none.
//
// The package knows nothing of what the settings are for: it opens no
// connection and makes no folder. It promises that every problem is reported at
// once, by the name of its setting, and that no secret appears in an error, a
// log line or a printed Config.
package config

import (
	"time"

	"github.com/alecthomas/kong"
)

// Config is everything the server can be told. It is made of groups so that a
// command can have only those it needs. Each field's tag "help" says what it
// means.
type Config struct {
	Server     `group:"Server:"`
	Database   `group:"Database:"`
	Storage    `group:"Storage:"`
	Identity   `group:"Identity:"`
	Limits     `group:"Uploads and recordings:"`
	Processing `group:"Processing:"`
	Log        `group:"Log:"`
}

// Server is how the server is reached.
type Server struct {
	Addr            string        `setting:"REPRISE_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address of the public listener: uploads, API, events, console. Port 0 takes any free one."`
	AdminAddr       string        `setting:"REPRISE_ADMIN_ADDR" default:"127.0.0.1:9090" placeholder:"HOST:PORT" help:"Address of the admin listener: metrics, health, profiles. It asks for no token; keep it private."`
	PublicURL       string        `setting:"REPRISE_PUBLIC_URL" placeholder:"URL" help:"How clients reach the public listener, for links in answers, such as https://audio.example.com. Default: http:// and the address, which must then name a host."`
	AllowedOrigins  []string      `setting:"REPRISE_ALLOWED_ORIGINS" placeholder:"ORIGIN" help:"Web pages of other origins that may use the server from a browser: exact origins such as https://app.example.com, separated by commas. The server's own origin always may."`
	ShutdownTimeout time.Duration `setting:"REPRISE_SHUTDOWN_TIMEOUT" default:"30s" placeholder:"DURATION" help:"How long running requests may take to end when the server is told to stop, and whatever else has to end. Running jobs get 10 seconds of it at the most, and then go on with the next worker."`
}

// Database is where the truth is kept.
type Database struct {
	DatabaseURL     Secret `setting:"REPRISE_DATABASE_URL" placeholder:"URL" help:"PostgreSQL, as postgres://user:password@host:5432/database. Special characters of the password are percent-encoded. Needed."`
	DatabaseURLFile string `setting:"REPRISE_DATABASE_URL_FILE" placeholder:"FILE" help:"A file with the database URL in it, instead of the URL."`
}

// Storage is where the bytes are kept, and how they get there and back.
type Storage struct {
	StorageURL   string `setting:"REPRISE_STORAGE_URL" placeholder:"URL" help:"Where recordings are kept: file:///absolute/folder, or s3://bucket/prefix with parameters such as ?endpoint=https://s3.example.com&region=eu-central-1 (docs/operations.md has them all). Credentials for S3 come from where the AWS SDK looks: environment, shared files, the machine's role. Needed."`
	UploadMemory Bytes  `setting:"REPRISE_UPLOAD_MEMORY" default:"256MiB" placeholder:"SIZE" help:"Memory for the bytes of all uploads on their way to S3, in bytes, or with KiB, MiB, GiB or TiB after the number; at least 32MiB. When it is short, uploads write in smaller pieces or wait. Not used with file://."`
	InlineBytes  Bytes  `setting:"REPRISE_INLINE_BYTES" default:"1MiB" placeholder:"SIZE" help:"The largest end of a request, too small for a part of its own, that is kept in the database until more comes; a larger one becomes an object in S3. At most 8MiB. 0 keeps none there. Not used with file://."`
	InlineRate   Bytes  `setting:"REPRISE_INLINE_RATE" default:"64MiB" placeholder:"SIZE" help:"How many bytes a second this process keeps in the database so; what is above goes to S3. Not used with file://."`
	Reads        string `setting:"REPRISE_READS" default:"direct" placeholder:"WAY" help:"How audio gets to listeners: direct redirects to a URL of the storage that is valid for some minutes, where the storage has such (S3); server sends every byte through this server."`
	WorkDir      string `setting:"REPRISE_WORK_DIR" placeholder:"FOLDER" help:"Where a worker keeps files while it processes a recording: room for each of the recordings in work, and again for what is made of it. Default: the folder work in that of file://, else a folder in the system's for temporary files."`
}

// Identity is who may use the server.
type Identity struct {
	Auth string `setting:"REPRISE_AUTH" default:"dev" placeholder:"PROVIDER" help:"Who says who a user is. Only dev in this version: development tokens, which \"reprise token\" makes."`
	DevKeys
	DevTokensAnywhere bool `setting:"REPRISE_DEV_TOKENS_ANYWHERE" default:"false" help:"Allow development tokens although the public listener can be reached from other machines (its address is not loopback), as it must be inside a container. Whoever has the key is anybody."`
}

// DevKeys is the key of development tokens.
type DevKeys struct {
	DevKey     Secret `setting:"REPRISE_DEV_KEY" placeholder:"HEX" help:"Key that signs development tokens: 64 hex digits, as \"openssl rand -hex 32\" makes them. Needed when development tokens are used."`
	DevKeyFile string `setting:"REPRISE_DEV_KEY_FILE" placeholder:"FILE" help:"A file with the key in it, instead of the key."`
}

// Limits bounds what is accepted and how long it is kept.
type Limits struct {
	MaxUploadBytes   Bytes         `setting:"REPRISE_MAX_UPLOAD_BYTES" default:"4GiB" placeholder:"SIZE" help:"The largest upload that is accepted, in bytes, or with KiB, MiB, GiB or TiB after the number."`
	MaxDuration      time.Duration `setting:"REPRISE_MAX_DURATION" default:"6h" placeholder:"DURATION" help:"The longest recording that is accepted; a longer one is rejected."`
	MinDuration      time.Duration `setting:"REPRISE_MIN_DURATION" default:"100ms" placeholder:"DURATION" help:"The shortest recording that is accepted; a shorter one is rejected."`
	UploadExpiry     time.Duration `setting:"REPRISE_UPLOAD_EXPIRY" default:"168h" placeholder:"DURATION" help:"How long an unfinished upload is kept after its last byte came."`
	DeletedRetention time.Duration `setting:"REPRISE_DELETED_RETENTION" default:"720h" placeholder:"DURATION" help:"How long the bytes of a deleted recording are kept. 0 removes them at once."`
}

// Processing is how much is processed at a time.
type Processing struct {
	Workers int `setting:"REPRISE_WORKERS" default:"0" placeholder:"COUNT" help:"How many recordings are processed at a time. 0 is the number of CPUs."`
}

// Log is what is logged and how.
type Log struct {
	LogLevel  string `setting:"REPRISE_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"The least level that is logged: debug, info, warn or error."`
	LogFormat string `setting:"REPRISE_LOG_FORMAT" default:"json" placeholder:"FORMAT" help:"Format of the log: json, or text for people."`
}

// Default returns a Config with every default. Its Check reports what has none.
func Default() Config {
	var c Config
	sources := NewSources(nil)
	parser := kong.Must(&c, sources.Options()...)
	if _, err := parser.Parse(nil); err != nil { // only a default that its own type can't hold
		panic("config: " + err.Error())
	}
	return c
}
