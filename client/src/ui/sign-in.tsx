import { useState } from "preact/hooks";
import { deviceId } from "../chat/storage.ts";
import type { Api } from "../protocol/api.ts";
import { describe, Problem, type FieldError } from "../protocol/problem.ts";
import { Star } from "./icons.tsx";

interface Props {
  api: Api;
  /** Why one is here again, if there is a reason. */
  notice: string;
  onSignedIn: () => void;
}

type Mode = "login" | "register";

const shown = ["username", "display_name", "password"];

/** The door: sign in, or make an account. */
export function SignIn({ api, notice, onSignedIn }: Props) {
  const [mode, setMode] = useState<Mode>("login");
  const [busy, setBusy] = useState(false);
  const [trouble, setTrouble] = useState("");
  const [fields, setFields] = useState<FieldError[]>([]);
  const registering = mode === "register";

  const switchTo = (next: Mode) => {
    setMode(next);
    setTrouble("");
    setFields([]);
  };
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget as HTMLFormElement);
    setBusy(true);
    setTrouble("");
    setFields([]);
    try {
      if (await enter(api, mode, form)) return onSignedIn();
      setTrouble("This account asks for a second factor, which this client cannot do yet.");
    } catch (error) {
      const wrong = error instanceof Problem ? error.fields : [];
      setFields(wrong);
      // What stands beside its field need not be said twice.
      if (wrong.length === 0 || wrong.some((w) => !shown.includes(w.field))) setTrouble(describe(error));
    }
    setBusy(false);
  };
  const wrong = (field: string) => fields.find((f) => f.field === field)?.message;

  return (
    <main class="door">
      <form class="card" onSubmit={submit} aria-label={registering ? "Create an account" : "Sign in"}>
        <p class="brand">
          <Star />
          <span>Nova</span>
        </p>
        <h1>{registering ? "Create an account" : "Welcome back"}</h1>
        {notice && !trouble && <p class="notice">{notice}</p>}
        <Field name="username" label="User name" autocomplete="username" wrong={wrong("username")} hint={registering ? "3 to 32 of a–z, 0–9 and . _ -" : undefined} />
        {registering && <Field name="display_name" label="Your name" autocomplete="name" optional wrong={wrong("display_name")} />}
        <Field
          key={mode}
          name="password"
          label="Password"
          type="password"
          autocomplete={registering ? "new-password" : "current-password"}
          wrong={wrong("password")}
          hint={registering ? "At least 10 characters; a sentence is best" : undefined}
        />
        <p class="trouble" role="alert">
          {trouble}
        </p>
        <button type="submit" class="button is-wide" disabled={busy}>
          {registering ? "Create account" : "Sign in"}
        </button>
        <p class="switch">
          {registering ? "Already here? " : "New here? "}
          <button type="button" class="link" onClick={() => switchTo(registering ? "login" : "register")}>
            {registering ? "Sign in" : "Create an account"}
          </button>
        </p>
      </form>
    </main>
  );
}

async function enter(api: Api, mode: Mode, form: FormData): Promise<boolean> {
  const text = (name: string) => String(form.get(name) ?? "");
  const username = text("username").trim().toLowerCase();
  if (mode === "login") return (await api.login(username, text("password"), deviceId())) !== undefined;
  const display_name = text("display_name").trim();
  const account = { username, password: text("password"), device_id: deviceId() };
  await api.register(display_name ? { ...account, display_name } : account);
  return true;
}

interface FieldProps {
  name: string;
  label: string;
  autocomplete: string;
  type?: string;
  optional?: boolean;
  hint?: string | undefined;
  wrong?: string | undefined;
}

function Field({ name, label, autocomplete, type = "text", optional = false, hint, wrong }: FieldProps) {
  const note = wrong ?? hint;
  return (
    <label class="labelled">
      <span class="label">
        {label}
        {optional && <small> optional</small>}
      </span>
      <input
        class={wrong ? "field is-wrong" : "field"}
        name={name}
        type={type}
        autocomplete={autocomplete}
        autocapitalize="none"
        spellcheck={false}
        required={!optional}
        aria-invalid={wrong ? true : undefined}
        aria-describedby={note ? `${name}-note` : undefined}
        autoFocus={name === "username"}
      />
      {note && (
        <small id={`${name}-note`} class={wrong ? "field-note is-wrong" : "field-note"}>
          {note}
        </small>
      )}
    </label>
  );
}
