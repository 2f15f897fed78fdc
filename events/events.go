// Package events brings what happens to recordings to the people who watch:
// fan-out inside a process and between replicas, and the WebSocket at
// /v1/events.
//
// It is not a queue and not the truth. Milestones are rows in Postgres with a
// sequence number per owner, without gaps, in the order of commits; this
// package only reads them. A notification says "look again" and nothing more:
// every connection has a cursor and sends what the store has above it, so
// replay and live are one path.
//
// It promises that
//   - a connection gets every milestone of its subscription above its cursor
//     exactly once and in order, whatever notifications are lost or repeated;
//   - progress ticks are live only: the latest of each recording and type wins,
//     and the last one of a row reaches every replica that is reachable;
//   - [Hub.Publish] never blocks and never fails;
//   - a reader who doesn't keep up costs bounded memory, delays nobody else and
//     is dropped with a close code that tells it to reconnect;
//   - nobody gets an event that belongs to somebody else, and asking for
//     somebody else's recording looks the same as asking for one that isn't.
//
// # Authentication
//
// One of, in this order:
//   - the header "Authorization: Bearer <token>";
//   - a one-time ticket among the subprotocols:
//     "Sec-WebSocket-Protocol: reprise.v1, ticket.<ticket>";
//   - a first message {"type":"auth","token":"…"} or {"type":"auth","ticket":"…"}
//     within 5 seconds.
//
// A token in the query string is refused with 400: addresses end in logs and
// histories. A page of another origin is refused with 403 unless its origin is
// listed exactly. A missing Origin is allowed with a token in the header only:
// browsers always send an Origin and can't set that header, so whoever sends it is
// not a page that somebody else wrote.
//
// # Messages
//
// The client sends {"type":"subscribe","recordings":["…"],"since":42}. Without
// recordings it is about all of the user's; without since it begins now. A
// further one replaces it. The answer is {"type":"subscribed","seq":57}, the
// latest sequence number at that moment, and then events as
// [recording.Event] marshals them. What the server can't make sense of is
// answered with {"type":"error","code":"…","message":"…"}.
//
// # Close codes
//
//	1001 the server is going away; reconnect with since
//	1008 too many messages at once
//	1009 a message was over 64 KiB
//	1013 the server can't check or read right now; try again later
//	4401 not authenticated, or no longer
//	4403 the account is disabled
//	4008 slow, or no pong; reconnect with since
//	4429 too many connections of this user
//
// If there are too many in all, the handshake is answered with 503.
//
// A connection that takes no bytes at all for 10 seconds is cut without a code.
package events

import (
	"context"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"reprise/auth"
	"reprise/recording"
)

// Store reads what is stored. Errors are *recording.Error.
type Store interface {
	// EventsSince lists at most limit of the owner's milestones with a number
	// above since, in order. nil recordings means all of them.
	EventsSince(ctx context.Context, owner uuid.UUID, recordings []uuid.UUID, since int64, limit int) ([]recording.Event, error)
	// LatestSeq returns the number of the owner's latest milestone, 0 if none.
	LatestSeq(ctx context.Context, owner uuid.UUID) (int64, error)
	// RedeemTicket uses a ticket up and returns whose it was.
	RedeemTicket(ctx context.Context, ticket string) (recording.Ticket, error)
}

// Relay joins the hubs of all replicas. It may lose payloads.
type Relay interface {
	// Notify sends a payload of less than 8000 bytes to every hub, this one too.
	Notify(ctx context.Context, payload string) error
	// Listen calls handle for every payload until ctx ends or the connection is
	// lost. It calls started once nothing that is sent from then on is missed.
	Listen(ctx context.Context, started func(), handle func(payload string)) error
}

// Authenticator finds out who a bearer token belongs to, and whether they may still
// use the server. Errors are *recording.Error; unauthenticated means that the token,
// or the sign-in it is of, is not valid, account_disabled that its user is shut out.
type Authenticator interface {
	Authenticate(ctx context.Context, token string) (auth.Principal, error)
	// CheckAccount looks at the account, and AccountHolds says for how long the answer
	// will be the same.
	CheckAccount(ctx context.Context, p auth.Principal) error
	AccountHolds(p auth.Principal) time.Duration
}

// Options is what a Hub is made of.
type Options struct {
	Store   Store
	Relay   Relay
	Auth    Authenticator
	Logger  *slog.Logger
	Metrics prometheus.Registerer

	// PerUser and Total are how many connections one user and all users may have; 0 is
	// no limit.
	PerUser, Total int

	// Origins are the origins ("https://app.example.com") whose pages may
	// connect, besides the server's own. They are compared exactly.
	Origins []string
}

// limits are the bounds of a connection; tests make them smaller.
type limits struct {
	authWait     time.Duration // to authenticate after the handshake
	writeWait    time.Duration // for one frame to be taken by the kernel
	pingEvery    time.Duration
	pongWait     time.Duration
	closeWait    time.Duration // for the peer to answer a close frame
	tokenRecheck time.Duration // a token is checked again this often
	ticketAge    time.Duration // a connection opened with a ticket lasts this long

	accountPause   time.Duration // least time between two checks of one account
	accountRecheck time.Duration // an account is checked again this often, at least

	window     int // bytes that may be under way without the peer having shown that it reads
	page       int // milestones per read of the store
	ticks      int // (recording, type) pairs of which a connection keeps the latest tick
	perUser    int // connections of a user; 0 is no limit
	total      int // connections of all users, and of nobody yet; 0 is no limit
	readers    int // reads of the store at the same time, of all connections
	message    int64
	recordings int // in one subscribe message

	relayEvery   time.Duration // least time between relayed ticks of one recording and type
	relayWait    time.Duration // for one payload to be sent
	relayBackoff time.Duration // the first pause after a lost relay; doubles up to 50 times this
	storeBackoff time.Duration // likewise after a failed read
	storeWait    time.Duration // a store that fails for this long closes the connection
}

func defaultLimits() limits {
	return limits{
		authWait:     5 * time.Second,
		writeWait:    10 * time.Second,
		pingEvery:    30 * time.Second,
		pongWait:     10 * time.Second,
		closeWait:    time.Second,
		tokenRecheck: 5 * time.Minute,
		ticketAge:    time.Hour,

		accountPause:   time.Second,
		accountRecheck: time.Minute,

		// What is under way must fit the kernels' buffers, so that a close frame
		// can still be written after it: 64 KiB is Linux's first receive window.
		window:     64 << 10,
		page:       256,
		ticks:      256,
		readers:    8,
		message:    64 << 10,
		recordings: 1000,

		relayEvery:   250 * time.Millisecond,
		relayWait:    2 * time.Second,
		relayBackoff: 200 * time.Millisecond,
		storeBackoff: 200 * time.Millisecond,
		storeWait:    30 * time.Second,
	}
}
