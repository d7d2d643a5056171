package media

import "github.com/nova-chat/nova/internal/web"

// Routes registers the service's routes: there are none yet, so requests below
// its paths are answered not_found like any unknown path.
func Routes(*web.Router, *Service) {}
