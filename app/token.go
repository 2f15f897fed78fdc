package app

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"reprise/auth"
	"reprise/recording"
)

// devKeyFile is the name of the file with the development key in the folder of
// "reprise dev".
const devKeyFile = "dev.key"

// TokenOptions says which development token to make.
type TokenOptions struct {
	User string        // who it is for
	Role string        // "support", "admin", or "" for none
	TTL  time.Duration // how long it is valid
	Key  []byte        // 32 bytes; nil means that of "reprise dev" in Dir
	Dir  string        // the folder of "reprise dev", which must exist if there is no Key
}

// Token makes a development token.
func Token(o TokenOptions) (string, error) {
	key := o.Key
	if key == nil {
		var err error
		key, err = auth.LoadOrCreateDevKey(filepath.Join(o.Dir, devKeyFile))
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("there is no folder %s with the key of \"reprise dev\": start that first, or set REPRISE_DEV_KEY to the server's key", o.Dir)
		}
		if err != nil {
			return "", err
		}
	}
	return auth.IssueDevTokenAs(key, o.User, recording.Role(o.Role), o.TTL, time.Now())
}
