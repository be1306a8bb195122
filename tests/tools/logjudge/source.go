package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// A bundle holds 256 entries of at most 65,535 bytes and their lengths; nothing is longer.
const fileLimit = tileWidth * (2 + 65_535)

// A source is where the static files of a log are.
type source struct {
	read func(path string) ([]byte, error)
}

// newSource returns the source at a URL or in a directory.
func newSource(location string) source {
	if strings.HasPrefix(location, "http://") || strings.HasPrefix(location, "https://") {
		client := &http.Client{Timeout: 30 * time.Second}
		base := strings.TrimSuffix(location, "/") + "/"
		return source{func(path string) ([]byte, error) { return get(client, base+path) }}
	}
	return source{func(path string) ([]byte, error) {
		return os.ReadFile(filepath.Join(location, filepath.FromSlash(path)))
	}}
}

func get(client *http.Client, url string) ([]byte, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, fileLimit+1))
	if err == nil && len(data) > fileLimit {
		err = fmt.Errorf("%s: over %d bytes", url, fileLimit)
	}
	return data, err
}

// A tileReader gives tlog the tiles that the log serves; tlog checks them against the root.
type tileReader struct {
	source source
	cache  map[string][]byte
}

func (r *tileReader) Height() int { return tileHeight }

func (r *tileReader) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	all := make([][]byte, len(tiles))
	for i, tile := range tiles {
		path := tilePath(tile)
		if data, found := r.cache[path]; found {
			all[i] = data
			continue
		}
		data, err := r.source.read(path)
		if err != nil {
			return nil, err
		}
		if len(data) != tile.W*tlog.HashSize {
			return nil, fmt.Errorf("%s: has %d bytes", path, len(data))
		}
		r.cache[path], all[i] = data, data
	}
	return all, nil
}

func (r *tileReader) SaveTiles([]tlog.Tile, [][]byte) {}
