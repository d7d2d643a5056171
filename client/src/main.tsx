import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Chat } from "./chat/chat.ts";
import { sessionStore, shareSession } from "./chat/storage.ts";
import { Api } from "./protocol/api.ts";
import "./styles/base.css";
import "./styles/door.css";
import "./styles/shell.css";
import "./styles/thread.css";
import "./styles/dialog.css";
import { Shell } from "./ui/shell.tsx";
import { SignIn } from "./ui/sign-in.tsx";

const api = new Api({ base: "", storage: sessionStore });
shareSession(api.session);
const socketUrl = `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/ws`;

/** Either the door or the house. */
function App() {
  const [notice, setNotice] = useState("");
  const [chat, setChat] = useState<Chat>();

  const enter = () => {
    const me = api.session.user;
    if (me) setChat(new Chat({ api, me, socketUrl, onSignedOut: leave }));
  };
  const leave = (why: string) => {
    setNotice(why);
    setChat(undefined);
  };
  useEffect(enter, []);
  useEffect(() => {
    chat?.start();
    return () => chat?.stop();
  }, [chat]);

  if (chat) return <Shell key={chat.me.id} chat={chat} />;
  return api.session.user ? null : <SignIn api={api} notice={notice} onSignedIn={enter} />;
}

render(<App />, document.getElementById("root")!);
