package sqldb

// answers are given on a goroutine of their own, in the order of the commits:
// what a batch's requests do with them takes processor time that the writer
// has a better use for.
type answers struct {
	waiting chan func()
	ended   chan struct{}
}

// groupsUnanswered is how many groups the writer may be ahead of the answers.
const groupsUnanswered = 4

func newAnswers() answers {
	return answers{waiting: make(chan func(), groupsUnanswered), ended: make(chan struct{})}
}

func (a *answers) loop() {
	defer close(a.ended)
	for fn := range a.waiting {
		fn()
	}
}

// give has fn run after all that was given before. The writer alone calls it.
func (a *answers) give(fn func()) { a.waiting <- fn }

// close waits until all is answered; the writer gives nothing more.
func (a *answers) close() {
	close(a.waiting)
	<-a.ended
}
