import { useRef, useState } from "preact/hooks";
import type { Chat } from "../chat/chat.ts";
import { describe } from "../protocol/problem.ts";
import type { User } from "../protocol/wire.ts";
import { Avatar } from "./avatar.tsx";
import { Dialog } from "./dialog.tsx";
import { Check, Close } from "./icons.tsx";
import { useSearch } from "./search.ts";

export type FinderMode = "person" | "group";

interface Props {
  chat: Chat;
  mode: FinderMode;
  onOpen: (conversationId: string) => void;
  onClose: () => void;
}

/** Finds people: one to talk to, or several for a group. */
export function Finder({ chat, mode, onOpen, onClose }: Props) {
  const [query, setQuery] = useState("");
  const [active, setActive] = useState(0);
  const [chosen, setChosen] = useState<User[]>([]);
  const [name, setName] = useState("");
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState<string>();
  const key = useRef(chat.newGroupKey());
  const input = useRef<HTMLInputElement>(null);
  const search = useSearch(chat.api, query, chat.me.id);
  const group = mode === "group";

  const act = async (open: () => Promise<string>) => {
    if (busy) return;
    setBusy(true);
    setTrouble(undefined);
    try {
      onOpen(await open());
    } catch (error) {
      setTrouble(describe(error));
      setBusy(false);
    }
  };
  const toggle = (user: User) => {
    const without = chosen.filter((u) => u.id !== user.id);
    setChosen(without.length < chosen.length ? without : [...chosen, user]);
    setQuery("");
    setActive(0);
    input.current?.focus();
  };
  const pick = (user: User) => (group ? toggle(user) : void act(() => chat.openDirect(user)));
  const create = () => void act(() => chat.openGroup(name.trim(), chosen, key.current));
  const keydown = (event: KeyboardEvent) => {
    const last = search.users.length - 1;
    if (event.key === "ArrowDown") setActive(Math.min(active + 1, last));
    else if (event.key === "ArrowUp") setActive(Math.max(active - 1, 0));
    else if (event.key === "Backspace" && query === "") setChosen(chosen.slice(0, -1));
    else if (event.key === "Enter" && search.users[active]) pick(search.users[active]);
    else return;
    if (event.key !== "Backspace") event.preventDefault();
  };

  return (
    <Dialog title={group ? "New group" : "Find a person"} onClose={onClose}>
      {group && (
        <input
          class="field"
          value={name}
          onInput={(e) => setName(e.currentTarget.value)}
          placeholder="Group name"
          aria-label="Group name"
          maxLength={100}
          autoFocus
        />
      )}
      {chosen.length > 0 && (
        <ul class="chips" aria-label="Chosen">
          {chosen.map((user) => (
            <li key={user.id}>
              <button type="button" class="chip" onClick={() => toggle(user)} aria-label={`Remove ${user.display_name}`}>
                {user.display_name} <Close />
              </button>
            </li>
          ))}
        </ul>
      )}
      <input
        ref={input}
        class="field"
        role="combobox"
        aria-expanded={search.users.length > 0}
        aria-controls="found"
        aria-activedescendant={search.users[active] ? `found-${active}` : undefined}
        aria-label={group ? "Add people by name or user name" : "Name or user name"}
        placeholder={group ? "Add people by name or user name" : "Name or user name"}
        value={query}
        onInput={(e) => {
          setQuery(e.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={keydown}
        autoFocus={!group}
        autocomplete="off"
        spellcheck={false}
      />
      <div class="results">
        <ul class="people is-choosable" id="found" role="listbox" aria-label="People">
          {search.users.map((user, i) => (
            <li
              key={user.id}
              id={`found-${i}`}
              role="option"
              class={i === active ? "person is-active" : "person"}
              aria-selected={group ? chosen.some((u) => u.id === user.id) : i === active}
              onMouseMove={() => setActive(i)}
              onClick={() => pick(user)}
            >
              <Avatar id={user.id} name={user.display_name} />
              <span class="person-text">
                <span class="person-name">{user.display_name}</span>
                <span class="person-handle">@{user.username}</span>
              </span>
              {chosen.some((u) => u.id === user.id) && <Check />}
            </li>
          ))}
        </ul>
        <p class="dialog-note" role="status">
          {trouble ?? search.note}
        </p>
      </div>
      {group && (
        <footer class="dialog-foot">
          <button type="button" class="button" disabled={busy || chosen.length === 0 || name.trim() === ""} onClick={create}>
            Create group
          </button>
        </footer>
      )}
    </Dialog>
  );
}
