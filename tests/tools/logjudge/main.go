// Logjudge checks a whole C2SP tlog-tiles log with code that the log's authors did not write:
// golang.org/x/mod/sumdb/note for signatures and sumdb/tlog for trees and proofs.
//
//	logjudge -log URL|DIRECTORY -vkey VKEY|FILE [-old CHECKPOINT] [-sample N]
//
// It fetches every entry bundle, hashes the entries itself, rebuilds the tree from them alone and
// compares every tile with it byte by byte. From the tiles it then proves the inclusion of
// entries and, given an older checkpoint, that the log only grew. It prints what it has checked
// and exits with 1 at the first thing that is wrong.
package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	tileHeight = 8
	tileWidth  = 1 << tileHeight
	// The first line that tlog.ParseTree insists on; a checkpoint has the log's origin there.
	goSumHeader = "go.sum database tree\n"
)

func main() {
	location := flag.String("log", "", "URL or directory below which checkpoint and tile/ are")
	vkey := flag.String("vkey", "", "verifier key of the log, or a file that holds it")
	old := flag.String("old", "", "file with an older checkpoint of the same log")
	sample := flag.Int64("sample", 1000, "prove the inclusion of about this many entries (0 = all)")
	flag.Parse()
	if *location == "" || *vkey == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := judge(*location, *vkey, *old, *sample); err != nil {
		fmt.Fprintf(os.Stderr, "logjudge: REFUSED: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("ok: the log is what it says")
}

func judge(location, vkey, old string, sample int64) error {
	verifier, err := readVerifier(vkey)
	if err != nil {
		return err
	}
	source := newSource(location)
	signed, err := source.read("checkpoint")
	if err != nil {
		return err
	}
	head, err := openCheckpoint(signed, verifier)
	if err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	report("signature of %s over the head of %d entries", verifier.Name(), head.N)

	leaves, err := readLeaves(source, head.N)
	if err != nil {
		return err
	}
	report("%d entries in %d bundles read and hashed", len(leaves), bundleCount(head.N))

	rebuilt, err := rebuild(leaves, head)
	if err != nil {
		return err
	}
	report("root hash %s rebuilt from the entries alone", head.Hash)

	count, err := compareTiles(source, rebuilt, head.N)
	if err != nil {
		return err
	}
	report("%d tiles equal to the rebuilt tree", count)

	// From here on only what the log serves is used, as a reader without the entries would.
	served := tlog.TileHashReader(head, &tileReader{source: source, cache: map[string][]byte{}})
	proven, err := proveInclusion(served, head, leaves, sample)
	if err != nil {
		return err
	}
	report("inclusion of %d entries proven from the tiles", proven)

	if old == "" {
		return nil
	}
	return proveGrowth(served, rebuilt, head, old, verifier)
}

// readVerifier returns the verifier that argument is, or that the file of that name holds.
func readVerifier(argument string) (note.Verifier, error) {
	if content, err := os.ReadFile(argument); err == nil {
		argument = strings.TrimSpace(string(content))
	}
	verifier, err := note.NewVerifier(argument)
	if err != nil {
		return nil, fmt.Errorf("vkey: %w", err)
	}
	return verifier, nil
}

// openCheckpoint returns the head in a note that verifier has signed and whose origin is its name.
func openCheckpoint(signed []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(signed, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	origin, rest, _ := strings.Cut(opened.Text, "\n")
	if origin != verifier.Name() {
		return tlog.Tree{}, fmt.Errorf("origin %q is not %q", origin, verifier.Name())
	}
	head, err := tlog.ParseTree([]byte(goSumHeader + rest))
	if err != nil {
		return tlog.Tree{}, err
	}
	if exact := fmt.Sprintf("%s\n%d\n%s\n", origin, head.N, head.Hash); opened.Text != exact {
		return tlog.Tree{}, errors.New("not three lines in their one form")
	}
	return head, nil
}

func bundleCount(size int64) int64 {
	return (size + tileWidth - 1) / tileWidth
}

// readLeaves fetches every entry bundle of the log and returns the leaf hash of each entry.
func readLeaves(source source, size int64) ([]tlog.Hash, error) {
	leaves := make([]tlog.Hash, 0, size)
	for index := int64(0); index < bundleCount(size); index++ {
		width := min(size-index*tileWidth, tileWidth)
		path := "tile/entries/" + numberPath(index, width)
		data, err := source.read(path)
		if err != nil {
			return nil, err
		}
		for range width {
			if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
				return nil, fmt.Errorf("%s: ends inside an entry", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(data))
			leaves = append(leaves, tlog.RecordHash(data[2:end]))
			data = data[end:]
		}
		if len(data) > 0 {
			return nil, fmt.Errorf("%s: has more than %d entries", path, width)
		}
	}
	return leaves, nil
}

// rebuild makes the tree of leaves anew and compares its root with that of head.
func rebuild(leaves []tlog.Hash, head tlog.Tree) (tlog.HashReader, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		hashes := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			hashes[i] = stored[index]
		}
		return hashes, nil
	})
	for number, leaf := range leaves {
		hashes, err := tlog.StoredHashesForRecordHash(int64(number), leaf, reader)
		if err != nil {
			return nil, err
		}
		stored = append(stored, hashes...)
	}
	root, err := tlog.TreeHash(head.N, reader)
	if err != nil {
		return nil, err
	}
	if root != head.Hash {
		return nil, fmt.Errorf("the entries give the root %s, signed is %s", root, head.Hash)
	}
	return reader, nil
}

// compareTiles fetches every tile of the log and compares it with the rebuilt tree.
func compareTiles(source source, rebuilt tlog.HashReader, size int64) (int, error) {
	tiles := tlog.NewTiles(tileHeight, 0, size)
	for _, tile := range tiles {
		expected, err := tlog.ReadTileData(tile, rebuilt)
		if err != nil {
			return 0, err
		}
		served, err := source.read(tilePath(tile))
		if err != nil {
			return 0, err
		}
		if !bytes.Equal(expected, served) {
			return 0, fmt.Errorf("%s: is not that of the entries", tilePath(tile))
		}
	}
	return len(tiles), nil
}

// proveInclusion proves about sample entries (0 = all), the first and the last among them.
func proveInclusion(
	served tlog.HashReader, head tlog.Tree, leaves []tlog.Hash, sample int64,
) (int, error) {
	step := int64(1)
	if sample > 0 {
		step = max(head.N/sample, 1)
	}
	proven := 0
	for index := int64(0); index < head.N; index++ {
		if index%step != 0 && index != head.N-1 {
			continue
		}
		proof, err := tlog.ProveRecord(head.N, index, served)
		if err != nil {
			return 0, fmt.Errorf("inclusion of entry %d: %w", index, err)
		}
		if err := tlog.CheckRecord(proof, head.N, head.Hash, index, leaves[index]); err != nil {
			return 0, fmt.Errorf("inclusion of entry %d: %w", index, err)
		}
		proven++
	}
	return proven, nil
}

// proveGrowth proves that the log at head extends the log at the checkpoint in the file old.
func proveGrowth(
	served, rebuilt tlog.HashReader, head tlog.Tree, old string, verifier note.Verifier,
) error {
	signed, err := os.ReadFile(old)
	if err != nil {
		return err
	}
	before, err := openCheckpoint(signed, verifier)
	if err != nil {
		return fmt.Errorf("old checkpoint: %w", err)
	}
	if before.N > head.N {
		return fmt.Errorf("the log had %d entries and has %d: rolled back", before.N, head.N)
	}
	root, err := tlog.TreeHash(before.N, rebuilt)
	if err != nil {
		return err
	}
	if root != before.Hash {
		return fmt.Errorf("the first %d entries are not those of the old head: forked", before.N)
	}
	if before.N > 0 { // of the empty log everything is an extension, and tlog has no proof of it
		proof, err := tlog.ProveTree(head.N, before.N, served)
		if err != nil {
			return fmt.Errorf("consistency: %w", err)
		}
		if err := tlog.CheckTree(proof, head.N, head.Hash, before.N, before.Hash); err != nil {
			return fmt.Errorf("consistency: %w", err)
		}
	}
	report("consistency with the older head of %d entries", before.N)
	return nil
}

// tilePath returns the C2SP path of a tile; that of sumdb has the tile height in front.
func tilePath(tile tlog.Tile) string {
	return "tile/" + strconv.Itoa(tile.L) + "/" + numberPath(tile.N, int64(tile.W))
}

func numberPath(number, width int64) string {
	path := fmt.Sprintf("%03d", number%1000)
	for number /= 1000; number > 0; number /= 1000 {
		path = fmt.Sprintf("x%03d/%s", number%1000, path)
	}
	if width < tileWidth {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

func report(format string, arguments ...any) {
	fmt.Printf("checked: "+format+"\n", arguments...)
}
