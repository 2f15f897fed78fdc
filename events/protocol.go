package events

import (
	"encoding/json"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"reprise/recording"
)

// subprotocol is what a client that names subprotocols must name.
const subprotocol = "reprise.v1"

// ticketPrefix stands before a ticket among the subprotocols.
const ticketPrefix = "ticket."

// Close codes of our own; 4000 to 4999 is for applications (RFC 6455, 7.4.2).
const (
	statusSlow            websocket.StatusCode = 4008
	statusUnauthenticated websocket.StatusCode = 4401
	statusDisabled        websocket.StatusCode = 4403
	statusTooMany         websocket.StatusCode = 4429
)

// closure is why the server closes a connection.
type closure struct {
	code   websocket.StatusCode
	reason string // for the peer
	label  string // for the metric
}

func (c *closure) Error() string { return c.reason }

func closedGoingAway() error {
	return &closure{websocket.StatusGoingAway, "the server is going away; reconnect with since", "shutdown"}
}

func closedFlood() error {
	return &closure{websocket.StatusPolicyViolation, "too many messages at once", "protocol"}
}

func closedUnavailable() error {
	return &closure{websocket.StatusTryAgainLater, "try again later", "unavailable"}
}

func closedUnauthenticated(reason string) error {
	return &closure{statusUnauthenticated, reason, "unauthenticated"}
}

func closedDisabled() error {
	return &closure{statusDisabled, "this account is disabled", "disabled"}
}

func closedSlow() error {
	return &closure{statusSlow, "slow; reconnect with since", "slow"}
}

func closedSilent() error {
	return &closure{statusSlow, "no pong; reconnect with since", "no_pong"}
}

func closedTooMany() error {
	return &closure{statusTooMany, "too many connections of this user", "too_many"}
}

// message is what a client sends.
type message struct {
	Type string `json:"type"`

	Token  string `json:"token"`  // auth
	Ticket string `json:"ticket"` // auth

	Recordings *[]string `json:"recordings"` // subscribe; nil means all
	Since      *int64    `json:"since"`      // subscribe; nil means from now on
}

// subscription says which events a connection is about.
type subscription struct {
	list  []uuid.UUID // as the store wants it: nil means all
	set   map[uuid.UUID]bool
	since *int64
}

func (s *subscription) has(id uuid.UUID) bool { return s.list == nil || s.set[id] }

// command is a client's message, understood: exactly one field is set.
type command struct {
	auth      *message
	subscribe *subscription
	refused   *recording.Error
}

// parse understands a client's message.
func parse(kind websocket.MessageType, data []byte, maxRecordings int) command {
	refuse := func(format string, args ...any) command {
		return command{refused: recording.Errorf(recording.CodeInvalidRequest, format, args...)}
	}
	var m message
	if kind != websocket.MessageText || json.Unmarshal(data, &m) != nil {
		return refuse("A message must be a JSON object in a text frame.")
	}
	switch m.Type {
	case "auth":
		if (m.Token == "") == (m.Ticket == "") {
			return refuse("An auth message has either a token or a ticket.")
		}
		return command{auth: &m}
	case "subscribe":
	default:
		return refuse("The type of a message is \"auth\" or \"subscribe\".")
	}
	if m.Since != nil && *m.Since < 0 {
		return refuse("\"since\" is a sequence number, 0 or more.")
	}
	s := &subscription{since: m.Since}
	if m.Recordings == nil {
		return command{subscribe: s}
	}
	if len(*m.Recordings) > maxRecordings {
		return refuse("A subscription names %d recordings at most; leave \"recordings\" out for all.", maxRecordings)
	}
	s.list, s.set = []uuid.UUID{}, make(map[uuid.UUID]bool)
	for i, text := range *m.Recordings {
		id, err := uuid.Parse(text)
		if err != nil {
			return refuse("\"recordings\" holds the ids of recordings; number %d is not an id.", i+1)
		}
		s.list = append(s.list, id)
		s.set[id] = true
	}
	return command{subscribe: s}
}

// subscribedFrame answers a subscription.
type subscribedFrame struct {
	Type string `json:"type"` // "subscribed"
	Seq  int64  `json:"seq"`
}

// errorFrame answers a message that can't be followed.
type errorFrame struct {
	Type    string         `json:"type"` // "error"
	Code    recording.Code `json:"code"`
	Message string         `json:"message"`
}
