package blob

// Classify is classify, for errors that no test can bring about.
func (d *Disk) Classify(err error) error { return d.classify(err) }
