import { useEffect, useState } from "preact/hooks";
import type { Api } from "../protocol/api.ts";
import { describe } from "../protocol/problem.ts";
import type { User } from "../protocol/wire.ts";

const pauseMs = 180;

export interface Search {
  users: User[];
  /** What to say below the results, such as that there are none. */
  note: string;
}

/** People that match what is typed, asked for after a short pause in typing. */
export function useSearch(api: Api, query: string, me: string): Search {
  const [search, setSearch] = useState<Search>(idle);
  const q = query.trim().replace(/^@/, "");
  useEffect(() => {
    if (q === "") {
      setSearch(idle);
      return;
    }
    let current = true;
    const timer = setTimeout(async () => {
      const found = await find(api, q, me);
      // A slow answer must not replace that of a newer question.
      if (current) setSearch(found);
    }, pauseMs);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [q]);
  return search;
}

const idle: Search = { users: [], note: "Type a few letters." };

async function find(api: Api, q: string, me: string): Promise<Search> {
  try {
    const users = (await api.findUsers(q)).items.filter((user) => user.id !== me);
    return { users, note: users.length === 0 ? "Nobody found by that name." : "" };
  } catch (error) {
    return { users: [], note: describe(error) };
  }
}
