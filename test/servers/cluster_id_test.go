package servers

import (
	"strings"
	"testing"
)

func TestNoClusterIDLooksLikeAnOption(t *testing.T) {
	for range 1000 {
		id, err := clusterID()
		if err != nil || len(id) != 22 || strings.HasPrefix(id, "-") {
			t.Fatalf("%q, %v", id, err)
		}
	}
}
