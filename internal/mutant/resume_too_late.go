//go:build mutant && resume_too_late

package mutant

// Name: a device that resumes is sent what comes after the first message that it lacks.
const Name = "resume_too_late"
