CREATE TABLE profiles (
    id           TEXT PRIMARY KEY,
    username     TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    folded       TEXT NOT NULL,  -- the display name in lower case, for the search
    created_ms   BIGINT NOT NULL
);
