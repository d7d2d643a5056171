import type { ComponentChildren } from "preact";

const link = /\bhttps?:\/\/[^\s<>"']+/g;
const trailing = /[.,;:!?)\]}]+$/;

/** Text with its web addresses as links. Everything stays text: no HTML is made of it. */
export function linkify(text: string): ComponentChildren[] {
  const parts: ComponentChildren[] = [];
  let end = 0;
  for (const match of text.matchAll(link)) {
    const url = match[0].replace(trailing, "");
    parts.push(text.slice(end, match.index));
    parts.push(
      <a href={url} target="_blank" rel="noopener noreferrer nofollow">
        {url}
      </a>,
    );
    end = match.index + url.length;
  }
  parts.push(text.slice(end));
  return parts;
}
