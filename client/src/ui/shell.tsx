import { useEffect, useReducer, useState } from "preact/hooks";
import type { Chat } from "../chat/chat.ts";
import { Finder, type FinderMode } from "./finder.tsx";
import { Star } from "./icons.tsx";
import { Sidebar } from "./sidebar.tsx";
import { Thread } from "./thread.tsx";
import { connectionWords } from "./words.ts";

/** Everything a signed-in person sees: the list, the open conversation, dialogs. */
export function Shell({ chat }: { chat: Chat }) {
  const [, changed] = useReducer((n: number) => n + 1, 0);
  const [finder, setFinder] = useState<FinderMode>();
  const selected = useSelected();
  const attentive = useAttention(chat);
  useEffect(() => chat.subscribe(() => changed(undefined)), [chat]);
  useShortcuts(setFinder, selected);
  useTitle(chat.unread);

  const room = selected === undefined ? undefined : chat.room(selected);
  const connection = connectionWords(chat.status, navigator.onLine);
  const open = (id: string) => {
    setFinder(undefined);
    location.hash = `#/c/${id}`;
  };
  return (
    <div class="shell" data-pane={room ? "thread" : "list"} data-phase={chat.status.phase}>
      <Takeover chat={chat} />
      <Sidebar chat={chat} selected={selected} connection={connection} onFind={setFinder} />
      <main>
        {room ? (
          <Thread key={room.id} chat={chat} room={room} attentive={attentive} connection={connection} onBack={back} />
        ) : (
          <Nothing chat={chat} />
        )}
      </main>
      {finder && <Finder chat={chat} mode={finder} onOpen={open} onClose={() => setFinder(undefined)} />}
      <p class="hidden" aria-live="polite">
        {chat.announcement}
      </p>
    </div>
  );
}

function Nothing({ chat }: { chat: Chat }) {
  return (
    <div class="nothing">
      <Star class="star is-large" />
      {chat.ready && <p>{chat.list().length > 0 ? "Choose a conversation." : "It is quiet here. Find someone to talk to."}</p>}
    </div>
  );
}

/** The two ends of a connection that only the person can overrule. */
function Takeover({ chat }: { chat: Chat }) {
  const { status } = chat;
  if (status.phase !== "ended" || status.verdict === "signed_out") return null;
  const replaced = status.verdict === "replaced";
  return (
    <div class="takeover" role="alert">
      <span>{replaced ? "Another window took over this session." : "The server closed the connection."}</span>
      <button type="button" class="button is-small" onClick={() => chat.takeOver()}>
        {replaced ? "Use this window" : "Connect again"}
      </button>
    </div>
  );
}

function back(): void {
  const open = location.hash;
  location.hash = "#/";
  // The row one came from takes the focus back.
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`.room[href="${open}"]`)?.focus());
}

/** The conversation in the address, so that back and reload do what they should. */
function useSelected(): string | undefined {
  const read = () => /^#\/c\/([A-Za-z0-9._-]+)$/.exec(location.hash)?.[1];
  const [selected, setSelected] = useState(read);
  useEffect(() => {
    const moved = () => setSelected(read());
    addEventListener("hashchange", moved);
    return () => removeEventListener("hashchange", moved);
  }, []);
  return selected;
}

/** Whether somebody is looking; and the network's comings and goings. */
function useAttention(chat: Chat): boolean {
  const look = () => document.visibilityState === "visible" && document.hasFocus();
  const [attentive, setAttentive] = useState(look);
  useEffect(() => {
    const looked = () => {
      setAttentive(look());
      if (look()) chat.hurry();
    };
    const online = () => chat.hurry();
    const offline = () => chat.networkLost();
    document.addEventListener("visibilitychange", looked);
    addEventListener("focus", looked);
    addEventListener("blur", looked);
    addEventListener("online", online);
    addEventListener("offline", offline);
    return () => {
      document.removeEventListener("visibilitychange", looked);
      removeEventListener("focus", looked);
      removeEventListener("blur", looked);
      removeEventListener("online", online);
      removeEventListener("offline", offline);
    };
  }, [chat]);
  return attentive;
}

function useShortcuts(find: (mode: FinderMode) => void, selected: string | undefined): void {
  useEffect(() => {
    const keydown = (event: KeyboardEvent) => {
      if ((event.metaKey || event.ctrlKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        find("person");
      } else if (event.key === "Escape" && selected !== undefined && !document.querySelector("dialog[open]")) {
        back();
      }
    };
    addEventListener("keydown", keydown);
    return () => removeEventListener("keydown", keydown);
  }, [selected]);
}

function useTitle(unread: number): void {
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) Nova` : "Nova";
  }, [unread]);
}
