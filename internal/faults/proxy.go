package faults

import (
	"bufio"
	"net"
	"sync"
)

// proxy stands between clients and a server, understands what they say, and
// can do harm at a certain command.
type proxy struct {
	listener net.Listener
	upstream string
	wg       sync.WaitGroup

	mu     sync.Mutex
	rule   func(command []string) harm
	watch  func(command []string, reply []byte)
	links  map[*link]bool
	closed bool
}

// harm is what a proxy does at a command.
type harm int

const (
	none      harm = iota
	cutBefore      // reset the connection; the server never sees the command
	cutAfter       // let the server act, then reset the connection instead of replying
	swallow        // let the server act, and say nothing, on this connection, ever again
)

// link is a client's connection and the one that was made for it.
type link struct {
	down, up net.Conn

	mu     sync.Mutex
	sent   []request // not answered yet
	frozen bool
}

type request struct {
	command []string
	harm    harm
}

// proxy starts a proxy to the server at addr.
func (t *trial) proxy(addr string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	t.must(err)
	p := &proxy{listener: l, upstream: addr, links: map[*link]bool{}}
	p.wg.Go(p.accept)
	t.atEnd(func() {
		p.close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) url() string { return "redis://" + p.listener.Addr().String() }

// at has rule decide what harm is done at each command; nil does none.
func (p *proxy) at(rule func(command []string) harm) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = rule
}

// watching has watch see every reply that passes.
func (p *proxy) watching(watch func(command []string, reply []byte)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watch = watch
}

// cut resets all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// close resets all connections, and lets nobody connect any more.
func (p *proxy) close() {
	p.listener.Close()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.cut()
}

// freeze leaves all connections open and lets nothing pass on them, for ever.
// Later connections are whole.
func (p *proxy) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.freeze()
	}
}

func (p *proxy) accept() {
	for {
		down, err := p.listener.Accept()
		if err != nil {
			return
		}
		up, err := net.Dial("tcp", p.upstream)
		if err != nil {
			down.Close()
			continue
		}
		l := &link{down: down, up: up}
		p.mu.Lock()
		p.links[l] = true
		if p.closed {
			l.reset()
		}
		p.mu.Unlock()
		p.wg.Go(func() { p.commands(l) })
		p.wg.Go(func() {
			p.replies(l)
			p.mu.Lock()
			delete(p.links, l)
			p.mu.Unlock()
		})
	}
}

func (p *proxy) commands(l *link) {
	defer l.close()
	r := bufio.NewReader(l.down)
	for {
		raw, err := readValue(r)
		if err != nil {
			return
		}
		request := request{command: words(raw)}
		p.mu.Lock()
		if p.rule != nil {
			request.harm = p.rule(request.command)
		}
		p.mu.Unlock()
		if request.harm == cutBefore {
			l.reset()
			return
		}
		if l.send(request) {
			if _, err := l.up.Write(raw); err != nil {
				return
			}
		}
	}
}

func (p *proxy) replies(l *link) {
	defer l.close()
	r := bufio.NewReader(l.up)
	for {
		raw, err := readValue(r)
		if err != nil {
			return
		}
		var request request
		if raw[0] != '>' { // a push answers nothing
			request = l.answered()
		}
		p.mu.Lock()
		if p.watch != nil {
			p.watch(request.command, raw)
		}
		p.mu.Unlock()
		switch request.harm {
		case cutAfter:
			l.reset()
			return
		case swallow:
			l.freeze()
		}
		if !l.isFrozen() {
			if _, err := l.down.Write(raw); err != nil {
				return
			}
		}
	}
}

// send notes a command that is sent on, unless the link is frozen.
func (l *link) send(r request) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.frozen {
		l.sent = append(l.sent, r)
	}
	return !l.frozen
}

func (l *link) answered() request {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.sent) == 0 {
		return request{}
	}
	r := l.sent[0]
	l.sent = l.sent[1:]
	return r
}

func (l *link) freeze() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = true
}

func (l *link) isFrozen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.frozen
}

// reset ends both connections as a crash of the other side would.
func (l *link) reset() {
	for _, c := range []net.Conn{l.down, l.up} {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
	l.close()
}

func (l *link) close() {
	l.down.Close()
	l.up.Close()
}
