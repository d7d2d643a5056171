import { initials, shade } from "./words.ts";

/** Initials on a quiet colour; decoration, the name always stands beside it. */
export function Avatar({ id, name, group = false }: { id: string; name: string; group?: boolean }) {
  const classes = ["avatar", `shade-${shade(id, 8)}`, group && "is-group"].filter(Boolean).join(" ");
  return (
    <span class={classes} aria-hidden="true">
      {initials(name)}
    </span>
  );
}
