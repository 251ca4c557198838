package fleet

import (
	"context"
	"iter"
	"runtime"
	"sync"
)

// inOrder has every core work on jobs, and takes their results in the order of the jobs, one at a time: an error of take, or the
// context's, ends it, and what was begun by then is dropped. worker is called once for each core and gives what works there, and what
// ends that.
func inOrder[J, R any](ctx context.Context, jobs iter.Seq[J], worker func() (work func(J) R, end func()), take func(J, R) error) error {
	type task struct {
		job    J
		result chan R
	}
	stop, cancel := context.WithCancel(ctx)
	cores := runtime.GOMAXPROCS(0)
	begun, queue := make(chan task), make(chan task, 2*cores)
	whole := false // all jobs were begun; told when queue is closed
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() {
		defer close(begun)
		defer close(queue)
		for job := range jobs {
			t := task{job, make(chan R, 1)}
			select {
			case queue <- t:
			case <-stop.Done():
				return
			}
			begun <- t // what is queued is worked on
		}
		whole = true
	})
	for range cores {
		running.Go(func() {
			work, end := worker()
			defer end()
			for t := range begun {
				t.result <- work(t.job)
			}
		})
	}
	var failed error
	for t := range queue {
		r := <-t.result
		if failed == nil {
			failed = ctx.Err()
		}
		if failed == nil {
			failed = take(t.job, r)
		}
		if failed != nil {
			cancel()
		}
	}
	if failed == nil && !whole {
		failed = ctx.Err()
	}
	return failed
}

// span is some of many, from first to before last.
type span struct{ first, last int }

// spans are the spans of a size from first to before last.
func spans(first, last, size int) iter.Seq[span] {
	return func(yield func(span) bool) {
		for ; first < last; first += size {
			if !yield(span{first, min(first+size, last)}) {
				return
			}
		}
	}
}

// alike is a worker that needs nothing of its own.
func alike[J, R any](work func(J) R) func() (func(J) R, func()) {
	return func() (func(J) R, func()) { return work, func() {} }
}
