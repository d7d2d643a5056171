import { useState } from "preact/hooks";
import type { Chat, Room } from "../chat/chat.ts";
import { Avatar } from "./avatar.tsx";
import { Dialog } from "./dialog.tsx";
import { People } from "./icons.tsx";

/** The button in a group's header and the list behind it. */
export function Members({ chat, room }: { chat: Chat; room: Room }) {
  const [open, setOpen] = useState(false);
  return (
    <>
      <button type="button" class="round" onClick={() => setOpen(true)} aria-label="Members" title="Members">
        <People />
      </button>
      {open && (
        <Dialog title={chat.title(room)} onClose={() => setOpen(false)}>
          <ul class="people">
            {room.members.map(({ user_id, role }) => {
              const user = chat.people.get(user_id);
              return (
                <li class="person" key={user_id}>
                  <Avatar id={user_id} name={user?.display_name ?? ""} />
                  <span class="person-text">
                    <span class="person-name">{user?.display_name ?? "…"}</span>
                    <span class="person-handle">{user ? `@${user.username}` : ""}</span>
                  </span>
                  {role !== "member" && <span class="role">{role}</span>}
                </li>
              );
            })}
          </ul>
        </Dialog>
      )}
    </>
  );
}
