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
	Quotas     `group:"Limits of clients and users:"`
	Processing `group:"Processing:"`
	Insights   `group:"Transcripts and analyses:"`
	Graph      `group:"Graph:"`
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
	Auth string `setting:"REPRISE_AUTH" default:"dev" placeholder:"PROVIDER" help:"Who says who a user is: firebase, or dev for development tokens, which \"reprise token\" makes."`
	Firebase
	DevKeys
	DevTokensAnywhere bool `setting:"REPRISE_DEV_TOKENS_ANYWHERE" default:"false" help:"Allow development tokens although the public listener can be reached from other machines (its address is not loopback), as it must be inside a container. Whoever has the key is anybody."`
}

// Firebase is the project whose users are Reprise's.
type Firebase struct {
	FirebaseProject            string        `setting:"REPRISE_FIREBASE_PROJECT" placeholder:"ID" help:"Id of the Firebase project whose users may use the server. Needed with REPRISE_AUTH=firebase, and enough to check tokens."`
	FirebaseCredentialsFile    string        `setting:"REPRISE_FIREBASE_CREDENTIALS_FILE" placeholder:"FILE" help:"A file with the JSON key of a service account that may look users up (docs/operations.md says how to make one): who is disabled or deleted at Firebase, or whose sign-ins are revoked there, is then shut out within a minute."`
	FirebaseDefaultCredentials bool          `setting:"REPRISE_FIREBASE_DEFAULT_CREDENTIALS" default:"false" help:"Look users up with the service account that the environment gives, such as a machine's on Google Cloud, instead of a file."`
	FirebaseStale              time.Duration `setting:"REPRISE_FIREBASE_STALE" default:"1h" placeholder:"DURATION" help:"How long the last answer about a user counts while Firebase can't be reached. After that, what needs one is answered with 503. 0 never takes an old answer."`
	FirebaseEmulator           string        `setting:"REPRISE_FIREBASE_EMULATOR" placeholder:"HOST:PORT" help:"The Firebase Auth emulator's address, for development: its tokens are not signed, so that anybody can be anybody. Only with a project whose id begins with demo- and a public listener on loopback. FIREBASE_AUTH_EMULATOR_HOST in the environment is the same."`
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

// Quotas bounds what one client, and one user, may have and use. 0 is no limit.
type Quotas struct {
	TrustedProxies        []string      `setting:"REPRISE_TRUSTED_PROXIES" placeholder:"NETWORK" help:"Networks of the proxies before this server, such as 10.0.0.0/8, separated by commas. Of their connections X-Forwarded-For says who the client is; without one, or from anywhere else, it is the connection's own address."`
	MaxConnections        int           `setting:"REPRISE_MAX_CONNECTIONS" default:"10000" placeholder:"COUNT" help:"How many connections the public listener has open; one too many is closed at once. 0 is no limit, as in all settings below."`
	AddressConnections    int           `setting:"REPRISE_ADDRESS_CONNECTIONS" default:"500" placeholder:"COUNT" help:"The same for one address (of IPv6 one /64), which may be that of many phones. Trusted proxies are not bound by it."`
	AddressRate           int           `setting:"REPRISE_ADDRESS_RATE" default:"500" placeholder:"COUNT" help:"How many requests a second an address may send in the long run."`
	AddressBurst          int           `setting:"REPRISE_ADDRESS_BURST" default:"5000" placeholder:"COUNT" help:"How many requests an address may send at once, after a pause."`
	UserRate              int           `setting:"REPRISE_USER_RATE" default:"100" placeholder:"COUNT" help:"How many requests a second a user may send in the long run."`
	UserBurst             int           `setting:"REPRISE_USER_BURST" default:"1000" placeholder:"COUNT" help:"How many requests a user may send at once, after a pause."`
	UserUploadsAtOnce     int           `setting:"REPRISE_USER_UPLOADS_AT_ONCE" default:"50" placeholder:"COUNT" help:"For how many uploads of a user bytes may come at the same time, in each process."`
	UserOpenUploads       int           `setting:"REPRISE_USER_OPEN_UPLOADS" default:"1000" placeholder:"COUNT" help:"How many unfinished uploads a user may have."`
	UserBytesPerDay       Bytes         `setting:"REPRISE_USER_BYTES_PER_DAY" default:"20GiB" placeholder:"SIZE" help:"How much a user may upload in a day (UTC). A declared length counts when the upload is created."`
	UserStoredBytes       Bytes         `setting:"REPRISE_USER_STORED_BYTES" default:"200GiB" placeholder:"SIZE" help:"How much the originals of a user may have together, unfinished uploads included. What is deleted doesn't count from then on."`
	UserDecodedPerDay     time.Duration `setting:"REPRISE_USER_DECODED_PER_DAY" default:"48h" placeholder:"DURATION" help:"How much audio of a user is processed in a day (UTC), in playing time. What is more waits for the next day."`
	UserTranscribedPerDay time.Duration `setting:"REPRISE_USER_TRANSCRIBED_PER_DAY" default:"24h" placeholder:"DURATION" help:"How much audio of a user is transcribed in a day (UTC), in playing time. What is more waits for the next day; the recordings are ready all the same."`
	UserTokensPerDay      int64         `setting:"REPRISE_USER_TOKENS_PER_DAY" default:"2000000" placeholder:"COUNT" help:"How many tokens of a language model the analyses of a user's recordings take in a day (UTC). What is more waits likewise."`
	UserSockets           int           `setting:"REPRISE_USER_SOCKETS" default:"20" placeholder:"COUNT" help:"How many event WebSockets a user may have open, in each process."`
	MaxSockets            int           `setting:"REPRISE_MAX_SOCKETS" default:"5000" placeholder:"COUNT" help:"How many event WebSockets all users may have open together, in each process."`
}

// Processing is how much is processed at a time, and how safely.
type Processing struct {
	Workers int    `setting:"REPRISE_WORKERS" default:"0" placeholder:"COUNT" help:"How many recordings are processed at a time. 0 is the number of CPUs."`
	Sandbox string `setting:"REPRISE_SANDBOX" default:"best-effort" placeholder:"HOW" help:"What to do if this system can't give every layer of the fence around ffmpeg: best-effort goes on with those that there are, and says in the log and at /readyz what is missing; required refuses to start a worker."`
}

// Insights is what is found out about ready recordings, and by whom.
type Insights struct {
	AITranscription        string   `setting:"REPRISE_AI_TRANSCRIPTION" default:"local" placeholder:"WAY" help:"Who writes down what is said in a recording: local is a program on the worker's machine (docs/speech-engines.md has which), and nobody if there is none; http is a service at REPRISE_AI_TRANSCRIPTION_URL; off is nobody."`
	AITranscriptionURL     string   `setting:"REPRISE_AI_TRANSCRIPTION_URL" placeholder:"URL" help:"A service that speaks OpenAI's protocol, up to its version: https://api.openai.com/v1, or http://127.0.0.1:8000/v1 on this machine. It is sent the sound of the recordings."`
	AITranscriptionModel   string   `setting:"REPRISE_AI_TRANSCRIPTION_MODEL" placeholder:"NAME" help:"The model to ask that service for, which is needed with http. With local, a folder with another model for Whisper (docs/speech-engines.md)."`
	AITranscriptionModels  []string `setting:"REPRISE_AI_TRANSCRIPTION_MODELS" placeholder:"NAME" help:"Models of the service that users may choose instead when they have a recording transcribed again, separated by commas."`
	AITranscriptionKey     Secret   `setting:"REPRISE_AI_TRANSCRIPTION_KEY" placeholder:"KEY" help:"The key that the service wants, if it does."`
	AITranscriptionKeyFile string   `setting:"REPRISE_AI_TRANSCRIPTION_KEY_FILE" placeholder:"FILE" help:"A file with the key in it, instead of the key."`
	AIAnalysis             string   `setting:"REPRISE_AI_ANALYSIS" default:"local" placeholder:"WAY" help:"Who finds out what a recording is about, from its transcript: local is a set of rules inside the server; http is a service at REPRISE_AI_ANALYSIS_URL; off is nobody."`
	AIAnalysisURL          string   `setting:"REPRISE_AI_ANALYSIS_URL" placeholder:"URL" help:"A service that speaks OpenAI's protocol, as above. It is sent the transcripts."`
	AIAnalysisModel        string   `setting:"REPRISE_AI_ANALYSIS_MODEL" placeholder:"NAME" help:"The model to ask that service for. Needed with http."`
	AIAnalysisModels       []string `setting:"REPRISE_AI_ANALYSIS_MODELS" placeholder:"NAME" help:"Models of the service that users may choose instead when they have a recording analysed again, separated by commas."`
	AIAnalysisKey          Secret   `setting:"REPRISE_AI_ANALYSIS_KEY" placeholder:"KEY" help:"The key that the service wants, if it does."`
	AIAnalysisKeyFile      string   `setting:"REPRISE_AI_ANALYSIS_KEY_FILE" placeholder:"FILE" help:"A file with the key in it, instead of the key."`
	AIPieces               int      `setting:"REPRISE_AI_PIECES" default:"0" placeholder:"COUNT" help:"How many pieces of recordings, of some minutes each, a process has transcribed at a time, and how many recordings it has analysed. 0 is half the number of CPUs with a program on this machine, and 4 with a service."`
}

// Graph is how connections between recordings are kept and asked for. Without a URL there
// are none.
type Graph struct {
	Neo4j
	GraphTimeout time.Duration `setting:"REPRISE_GRAPH_TIMEOUT" default:"3s" placeholder:"DURATION" help:"How long a question to the graph may take. One that takes longer, also because Neo4j is away, is answered with 503."`
}

// Neo4j is where they are kept.
type Neo4j struct {
	Neo4jURL          string `name:"neo4j-url" setting:"REPRISE_NEO4J_URL" placeholder:"URL" help:"A Neo4j 5 server, for questions about how recordings are connected: bolt://host:7687, or neo4j:// for a cluster, with +s behind the scheme for TLS. Without one everything else works."`
	Neo4jUser         string `name:"neo4j-user" setting:"REPRISE_NEO4J_USER" default:"neo4j" placeholder:"NAME" help:"Who Reprise is to Neo4j. It may read and write, and make constraints and indexes."`
	Neo4jPassword     Secret `name:"neo4j-password" setting:"REPRISE_NEO4J_PASSWORD" placeholder:"PASSWORD" help:"That user's password. Needed with REPRISE_NEO4J_URL."`
	Neo4jPasswordFile string `name:"neo4j-password-file" setting:"REPRISE_NEO4J_PASSWORD_FILE" placeholder:"FILE" help:"A file with the password in it, instead of the password."`
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
