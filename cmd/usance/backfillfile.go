package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/usance/usance"
)

// inputFile is a file that is backfilled: CSV with a header line, or JSON, one
// event a line; plain or gzip. It can be read on from an offset of what it holds.
type inputFile struct {
	path  string
	size  int64 // on the disk
	about int64 // unpacked, as far as can be told
	count *byteCount

	content string // a digest of what it holds on the disk

	isJSON bool
	header []string // of CSV
	begin  position // behind the header

	f      *os.File
	lines  lineCount
	at     position // behind the last record
	csv    *csv.Reader
	json   *bufio.Reader
	offset int64 // where the reader was opened
	line   int64 // the lines before that
	opened int64 // what the count of bytes began with
}

// read tells how many bytes of the file were read since it was opened.
func (in *inputFile) read() int64 { return in.count.n.Load() - in.opened }

// place is the position behind the last record.
func (in *inputFile) place() position { return in.at }

// isPart tells whether what was read since then is a twentieth of the file.
func (in *inputFile) isPart(since position) bool { return in.at.Offset-since.Offset >= in.about/20 }

// source names the file to the server: the same for the same content.
func (in *inputFile) source() string { return filepath.Base(in.path) + " " + in.content }

// whileWanted reads until the context ends.
type whileWanted struct {
	ctx context.Context
	r   io.Reader
}

func (w whileWanted) Read(p []byte) (int, error) {
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.r.Read(p)
}

// position is a place in a file, unpacked: behind so many bytes and lines; or in
// a table: behind the row of a key, and so many rows.
type position struct {
	Offset int64    `json:"offset,omitempty"`
	Line   int64    `json:"line"`
	Key    []string `json:"key,omitempty"`
}

// extent is where a record begins and ends.
type extent struct {
	From position `json:"from"`
	To   position `json:"to"`
}

// record is one line of JSON, or one row of CSV or of a table.
type record struct {
	line  int64 // where it begins, from 1; of a table, a number that is the row's own
	cells []string
	json  []byte
	row   string // of a table: which one, for people
	key   string // of a table: the idempotency key of an event that has none
}

// maxInputLine bounds a line of JSON, which holds one event.
const maxInputLine = 1 << 20

// openInput opens the file and reads what it is made of.
func openInput(path string, bar *progress) (*inputFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file; what is backfilled is looked at more than once", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	in := &inputFile{path: path, size: info.Size(), f: f, count: bar.add(info.Size())}
	if err := in.look(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return in, nil
}

// identify tells the file by all that it holds, at each run: no time that a file
// system keeps tells for sure that nobody wrote to it.
func (in *inputFile) identify(ctx context.Context) error {
	h := sha256.New()
	if _, err := io.Copy(h, whileWanted{ctx, io.NewSectionReader(in.f, 0, in.size)}); err != nil {
		return err
	}
	in.content = hex.EncodeToString(h.Sum(nil)[:8])
	return nil
}

// look finds out the form, and reads the header of CSV.
func (in *inputFile) look() error {
	if err := in.open(position{}); err != nil {
		return err
	}
	b := bufio.NewReader(&in.lines)
	first, _ := b.Peek(512)
	text := bytes.TrimLeft(bytes.TrimPrefix(first, []byte("\ufeff")), " \t\r\n")
	switch {
	case bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")):
		return fmt.Errorf("%s is UTF-16; write it as UTF-8, as iconv -f UTF-16 -t UTF-8 does", in.path)
	case len(text) == 0:
		return fmt.Errorf("%s is empty", in.path)
	case text[0] == '[':
		return fmt.Errorf("%s holds a JSON array; write one event a line, as jq -c '.[]' does", in.path)
	case text[0] == '{':
		in.isJSON = true
		return nil
	}
	in.csv = csv.NewReader(b)
	in.csv.FieldsPerRecord = -1
	header, err := in.csv.Read()
	if err != nil {
		return fmt.Errorf("%s: its header: %w", in.path, err)
	}
	header[0] = strings.TrimPrefix(header[0], "\ufeff")
	for i, name := range header {
		header[i] = strings.TrimSpace(name)
		if slices.Contains(header[:i], header[i]) {
			return fmt.Errorf("%s line 1: there are two columns %q", in.path, header[i])
		}
	}
	in.header = header
	in.begin.Offset = in.csv.InputOffset()
	in.begin.Line = in.lines.before(in.begin.Offset)
	return nil
}

// columnNames lists columns for people. A name that is not made of what can be
// printed, such as those of a file that is no CSV at all, is escaped: a terminal
// would take it for commands.
func columnNames(names []string) string {
	var out []string
	for _, n := range names {
		if !utf8.ValidString(n) || strings.ContainsFunc(n, func(r rune) bool { return !unicode.IsPrint(r) }) {
			n = strconv.Quote(n)
		}
		out = append(out, n)
	}
	return strings.Join(out, ", ")
}

// open starts reading at a position. A packed file is unpacked from its start.
func (in *inputFile) open(at position) error {
	var magic [2]byte
	if _, err := in.f.ReadAt(magic[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	packed := magic == [2]byte{0x1f, 0x8b}
	from := at.Offset
	in.about = in.size
	if packed {
		// Its last four bytes are the size, of the last part if it has several, and
		// without what passes 4 GiB.
		var size [4]byte
		if _, err := in.f.ReadAt(size[:], max(0, in.size-4)); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		from, in.about = 0, max(in.size, int64(binary.LittleEndian.Uint32(size[:])))
	}
	if _, err := in.f.Seek(from, io.SeekStart); err != nil {
		return err
	}
	var r io.Reader = in.count.reader(in.f)
	in.count.n.Store(from)
	if packed {
		z, err := gzip.NewReader(r)
		if err != nil {
			return fmt.Errorf("%s: %w", in.path, err)
		}
		if _, err := io.CopyN(io.Discard, z, at.Offset); err != nil {
			return damaged(fmt.Errorf("%s: %w", in.path, err))
		}
		r = z
	}
	in.opened, in.lines = from, lineCount{r: r}
	in.offset, in.line, in.at = at.Offset, at.Line, at
	in.csv, in.json = nil, nil
	return nil
}

// start reads on from a position behind the header.
func (in *inputFile) start(_ context.Context, at position) error {
	if at.Offset < in.begin.Offset {
		at = in.begin
	}
	if err := in.open(at); err != nil {
		return err
	}
	if in.isJSON {
		in.json = bufio.NewReaderSize(in.lines.r, 64<<10) // it counts its lines itself
		return nil
	}
	in.csv = csv.NewReader(&in.lines)
	in.csv.FieldsPerRecord = -1
	return nil
}

// next reads a record; io.EOF at the end. What is no CSV ends the reading.
func (in *inputFile) next(context.Context) (record, error) {
	if in.isJSON {
		return in.nextJSON()
	}
	cells, err := in.csv.Read()
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return record{}, damagedError{fmt.Errorf("%s line %d: %w", in.path, in.line+int64(parse.Line), parse.Err)}
	}
	if err != nil {
		return record{}, in.failed(err)
	}
	row, _ := in.csv.FieldPos(0)
	end := in.csv.InputOffset()
	in.at = position{Offset: in.offset + end, Line: in.line + in.lines.before(end)}
	return record{line: in.line + int64(row), cells: cells}, nil
}

func (in *inputFile) nextJSON() (record, error) {
	for {
		line, err := readLine(in.json, maxInputLine)
		if len(bytes.TrimSpace(line)) > 0 && errors.Is(err, io.EOF) {
			err = errNoLineEnd
		}
		if err != nil {
			return record{}, in.failed(err)
		}
		r := record{line: in.at.Line + 1, json: bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))}
		in.at = position{Offset: in.at.Offset + int64(len(line)), Line: in.at.Line + 1}
		if len(r.json) > 0 {
			return r, nil
		}
	}
}

func (in *inputFile) failed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, errNoLineEnd) {
		if info, err := in.f.Stat(); err != nil {
			return err
		} else if info.Size() < in.size {
			return damagedError{fmt.Errorf("%s was cut short while it was read, from %d bytes to %d", in.path, in.size, info.Size())}
		}
	}
	if errors.Is(err, io.EOF) {
		return io.EOF
	}
	return damaged(fmt.Errorf("%s, behind line %d: %w", in.path, in.at.Line, err))
}

// damagedError says that the file is not what it should be: to read it again
// does not help.
type damagedError struct{ error }

func (e damagedError) Unwrap() error { return e.error }

// damaged tells a damaged file from one that the system could not read.
func damaged(err error) error {
	var system *fs.PathError
	if errors.As(err, &system) {
		return err
	}
	return damagedError{err}
}

// readLine reads to the end of a line, which it includes.
func readLine(r *bufio.Reader, limit int) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > limit {
			return line, fmt.Errorf("a line is longer than %d bytes", limit)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}

func (in *inputFile) close() error { return in.f.Close() }

// errNoLineEnd keeps a last line from being read that may be half of one: a number that
// was cut is another number, and the rest of a line another line.
var errNoLineEnd = errors.New("the last line has no line end, and was not read: end it if the file is whole, and run this again")

// lineCount counts the lines that end before an offset of what is read, and holds the
// last one to have an end.
type lineCount struct {
	r    io.Reader
	read int64
	last byte
	ends []int64 // offsets behind the line ends that were not asked for yet
	n    int64
}

func (c *lineCount) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\n' {
			c.ends = append(c.ends, c.read+int64(i)+1)
		}
	}
	c.read += int64(n)
	if n > 0 {
		c.last = p[n-1]
	}
	if err == io.EOF && c.read > 0 && c.last != '\n' {
		err = errNoLineEnd
	}
	return n, err
}

func (c *lineCount) before(offset int64) int64 {
	i := 0
	for i < len(c.ends) && c.ends[i] <= offset {
		i++
	}
	c.n += int64(i)
	c.ends = append(c.ends[:0], c.ends[i:]...)
	return c.n
}

// checkpointVersion is raised when a checkpoint comes to say something that a
// program of before would read wrongly. Those without a version are of the first.
const checkpointVersion = 1

// checkpoint is how far a backfill is. It lies beside the input until the
// backfill has come to its end.
type checkpoint struct {
	Version  int            `json:"version"`
	Input    string         `json:"input"`   // what it holds, and how it is read
	At       position       `json:"at"`      // all before is answered
	Counted  *extent        `json:"last"`    // of the last record that was counted; nil when none was
	Refused  *extent        `json:"refused"` // of the last record that the server refused
	Rejected int64          `json:"rejects"` // bytes of the file of rejects, Report.Rejects
	Digest   string         `json:"digest"`  // of these bytes
	Report   backfillReport `json:"report"`
}

// readCheckpoint gives the checkpoint of the input; nil when there is none, or
// it is of something else. One of a later version is refused: to begin anew beside
// it would throw away what the program that wrote it can go on with.
func readCheckpoint(path, input string) (*checkpoint, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var of struct {
		Version int `json:"version"`
	}
	if err := json.Unmarshal(b, &of); err == nil && of.Version > checkpointVersion {
		return nil, fmt.Errorf("the checkpoint %s was written by a later version of usance (layout %d, this one knows %d): go on with that version, or remove the file to start at the beginning, where what was counted is not counted twice",
			path, of.Version, checkpointVersion)
	}
	c := new(checkpoint)
	if err := json.Unmarshal(b, c); err == nil && c.Input == input {
		return c, nil
	} else if err != nil || c.Input == "" {
		return nil, fmt.Errorf("%s is no checkpoint of a backfill, and would be written over: name another file with --checkpoint, or remove it", path)
	}
	return nil, nil // of something else
}

// write replaces the checkpoint as a whole.
func (c *checkpoint) write(path string) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	next := path + ".new"
	if err := os.WriteFile(next, b, 0o600); err != nil {
		return fmt.Errorf("the checkpoint cannot be written; name another place with --checkpoint: %w", err)
	}
	return os.Rename(next, path)
}

// rejectFile takes the rows that were refused, in a form that can be backfilled
// when what is wrong is mended.
type rejectFile struct {
	path   string
	header []string // of CSV
	f      *os.File
	sum    hash.Hash // of what it holds
}

// start goes on with the file that the checkpoint tells of, or lets it go when
// the backfill begins anew. A file that is not as it was left is somebody's by
// now: it stays as it is, and the next free name is taken.
func (r *rejectFile) start(c *checkpoint, anew bool) (goesOn bool, err error) {
	r.sum = sha256.New()
	left := ""
	if c != nil && c.Rejected > 0 {
		ours, err := r.holds(c)
		if err != nil {
			return false, err
		}
		if ours {
			left = c.Report.Rejects
		}
	}
	base := r.path
	for n := 2; ; n++ {
		switch info, err := os.Stat(r.path); {
		case r.path == left && !anew:
			return true, nil
		case r.path == left:
			r.sum.Reset()
			return false, os.Remove(r.path)
		case errors.Is(err, fs.ErrNotExist), err == nil && (info.Size() == 0 || !info.Mode().IsRegular()):
			r.sum.Reset()
			return false, nil
		case err != nil:
			return false, err
		}
		ext := filepath.Ext(base)
		r.path = fmt.Sprintf("%s.%d%s", strings.TrimSuffix(base, ext), n, ext)
	}
}

// holds reads the file of the checkpoint, and tells whether it is as it was left.
func (r *rejectFile) holds(c *checkpoint) (bool, error) {
	info, err := os.Stat(c.Report.Rejects)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil || !info.Mode().IsRegular() || info.Size() != c.Rejected {
		return false, err
	}
	f, err := os.Open(c.Report.Rejects)
	if err != nil {
		return false, err
	}
	_, err = io.Copy(r.sum, f)
	return r.digest() == c.Digest, errors.Join(err, f.Close())
}

// digest tells contents apart.
func (r *rejectFile) digest() string { return hex.EncodeToString(r.sum.Sum(nil)) }

// add writes rows, and tells how long the file is now.
func (r *rejectFile) add(rows [][]byte) (size int64, err error) {
	if r.f == nil {
		if r.f, err = os.OpenFile(r.path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
			return 0, fmt.Errorf("what is refused cannot be kept; name another place with --rejects: %w", err)
		}
	}
	info, err := r.f.Stat()
	if err != nil {
		return 0, err
	}
	if info.Size() == 0 && r.header != nil {
		rows = append([][]byte{csvLine(r.header)}, rows...)
	}
	all := bytes.Join(rows, nil)
	if _, err := r.f.Write(all); err != nil {
		return 0, errors.Join(err, r.f.Truncate(info.Size())) // half a row may read as another
	}
	r.sum.Write(all)
	return info.Size() + int64(len(all)), nil
}

func (r *rejectFile) close() error {
	if r.f == nil {
		return nil
	}
	return r.f.Close()
}

func csvLine(cells []string) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	_ = w.Write(cells) // into memory
	w.Flush()
	return b.Bytes()
}

// invalidRow says what is wrong with a record.
func invalidRow(err error) *usance.Error {
	var known *usance.Error
	if errors.As(err, &known) {
		return known
	}
	return usance.Invalid("", "%v", err)
}
