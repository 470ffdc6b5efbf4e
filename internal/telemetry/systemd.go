package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"time"

	sd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/freshet/freshet"
)

// Notify tells systemd how the consumer is, where systemd has started the
// process: READY=1 once it works, STOPPING=1 when ctx ends, what keeps it from
// working as its status, and, where the unit has WatchdogSec=, that it is
// alive. That is not told while the consumer is stuck, which a restart mends;
// while it waits for the server or for the copy, it is. Call stop when the
// consumer has ended.
func Notify(ctx context.Context, ready func() error, log *slog.Logger) (stop func()) {
	if os.Getenv("NOTIFY_SOCKET") == "" {
		return func() {}
	}
	n := notifier{ready: ready, log: log, look: time.Second}
	watchdog, err := sd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("systemd's watchdog is not told anything", "error", err)
	}
	if n.watchdog = watchdog > 0; n.watchdog {
		n.look = min(n.look, watchdog/3)
	}
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		n.run(ctx.Done(), end)
	}()
	return func() {
		close(end)
		<-ended
	}
}

type notifier struct {
	ready    func() error
	log      *slog.Logger
	look     time.Duration
	watchdog bool

	started bool
	status  string
	failed  bool
}

func (n *notifier) run(stopping, end <-chan struct{}) {
	every := time.NewTicker(n.look)
	defer every.Stop()
	for {
		n.tell()
		select {
		case <-every.C:
		case <-stopping:
			n.send(sd.SdNotifyStopping)
			stopping = nil
		case <-end:
			return
		}
	}
}

func (n *notifier) tell() {
	err := n.ready()
	status := "consuming"
	if err != nil {
		status = strings.Join(strings.Fields(err.Error()), " ") // a line ends a status
	}
	if status != n.status {
		n.status = status
		n.send("STATUS=" + status)
	}
	if err == nil && !n.started {
		n.started = true
		n.send(sd.SdNotifyReady)
	}
	if n.watchdog && !errors.Is(err, freshet.ErrStuck) {
		n.send(sd.SdNotifyWatchdog)
	}
}

func (n *notifier) send(state string) {
	if _, err := sd.SdNotify(false, state); err != nil && !n.failed {
		n.failed = true
		n.log.Warn("systemd cannot be notified", "error", err)
	}
}
