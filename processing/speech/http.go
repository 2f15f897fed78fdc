package speech

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"os"

	"reprise/processing/provider"
	"reprise/recording"
)

// HTTP is an Engine that is a service: OpenAI's POST /audio/transcriptions, or one that
// speaks its protocol, such as whisper.cpp's server or speaches.
type HTTP struct {
	client *provider.Client
	model  string
}

// NewHTTP returns an engine that asks the client's service for the model, which a piece
// can ask for another one of. "" asks for none, for services that have but one.
func NewHTTP(client *provider.Client, model string) *HTTP {
	return &HTTP{client: client, model: model}
}

// Name is "http".
func (h *HTTP) Name() string { return "http" }

// Model is the one that NewHTTP was given.
func (h *HTTP) Model() string { return h.model }

// Transcribe sends the piece's file, and nothing else but the fields of the form.
func (h *HTTP) Transcribe(ctx context.Context, p Piece) (recording.Transcript, error) {
	form, err := h.form(p)
	if err != nil {
		return recording.Transcript{}, fmt.Errorf("speech: %w", err)
	}
	body, err := h.client.Post(ctx, provider.Request{
		Path: "audio/transcriptions", ContentType: form.contentType, Body: form.open, Length: form.length,
		Key: p.Key, Model: p.Model,
	})
	if err != nil {
		return recording.Transcript{}, err
	}
	t, err := parseVerbose(body, p)
	if err != nil {
		return recording.Transcript{}, err
	}
	t.Provider, t.Model = h.Name(), cmp.Or(p.Model, h.model)
	return t, nil
}

// uploadForm is a multipart form with a file that is read when it is sent.
type uploadForm struct {
	contentType   string
	before, after []byte // the file
	path          string
	length        int64 // of the whole form
}

// form returns what is asked about a piece.
func (h *HTTP) form(p Piece) (*uploadForm, error) {
	info, err := os.Stat(p.Path)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	if p.Key != "" {
		// The same question is the same bytes: a service may compare them.
		digest := sha256.Sum256([]byte(p.Key))
		if err := w.SetBoundary(hex.EncodeToString(digest[:])); err != nil {
			return nil, err
		}
	}
	for _, field := range [][2]string{
		{"model", cmp.Or(p.Model, h.model)},
		{"language", baseLanguage(p.Language)},
		{"response_format", "verbose_json"},
		{"timestamp_granularities[]", "word"},
		{"timestamp_granularities[]", "segment"},
		{"temperature", "0"},
	} {
		if field[1] == "" {
			continue
		}
		if err := w.WriteField(field[0], field[1]); err != nil {
			return nil, err
		}
	}
	// Not the file's name: that is ours, and services look at the ending only.
	if _, err := w.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="speech.wav"`},
		"Content-Type":        {"audio/wav"},
	}); err != nil {
		return nil, err
	}
	head := b.Len()
	if err := w.Close(); err != nil {
		return nil, err
	}
	return &uploadForm{
		contentType: w.FormDataContentType(), path: p.Path,
		before: b.Bytes()[:head], after: b.Bytes()[head:], length: int64(b.Len()) + info.Size(),
	}, nil
}

// open returns the form from its beginning.
func (f *uploadForm) open() (io.ReadCloser, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(f.before), file, bytes.NewReader(f.after)), file}, nil
}
