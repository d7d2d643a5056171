// The star and the few line icons, drawn here so that nothing is fetched.

import type { ComponentChildren } from "preact";

export function Star({ class: name = "star" }: { class?: string }) {
  return (
    <svg class={name} viewBox="0 0 24 24" aria-hidden="true">
      <path d="M11 2c.7 6.2 3.8 9.3 10 10-6.2.7-9.3 3.8-10 10-.7-6.2-3.8-9.3-10-10 6.2-.7 9.3-3.8 10-10Z" />
      <circle cx="20" cy="4.5" r="2" />
    </svg>
  );
}

function Line({ children }: { children: ComponentChildren }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      {children}
    </svg>
  );
}

export const Search = () => (
  <Line>
    <circle cx="11" cy="11" r="6.5" />
    <path d="m16 16 4.5 4.5" />
  </Line>
);
export const People = () => (
  <Line>
    <circle cx="9" cy="8.5" r="3.5" />
    <path d="M2.5 19.5c.6-3.6 3.2-5.5 6.5-5.5s5.9 1.9 6.5 5.5" />
    <path d="M15.5 5.2a3.5 3.5 0 0 1 0 6.6M18 14.6c2 .7 3.2 2.4 3.6 4.9" />
  </Line>
);
export const NewGroup = () => (
  <Line>
    <circle cx="9.5" cy="8.5" r="3.5" />
    <path d="M3 19.5c.6-3.6 3.2-5.5 6.5-5.5s5.9 1.9 6.5 5.5M19 6.5v6M16 9.5h6" />
  </Line>
);
export const Back = () => (
  <Line>
    <path d="m14.5 5-7 7 7 7" />
  </Line>
);
export const Close = () => (
  <Line>
    <path d="m6 6 12 12M18 6 6 18" />
  </Line>
);
export const Arrow = () => (
  <Line>
    <path d="M12 19V5M5.5 11.5 12 5l6.5 6.5" />
  </Line>
);
export const Down = () => (
  <Line>
    <path d="M12 5v14M5.5 12.5 12 19l6.5-6.5" />
  </Line>
);
export const Leave = () => (
  <Line>
    <path d="M14 4.5H6.5a1 1 0 0 0-1 1v13a1 1 0 0 0 1 1H14M10.5 12H21M17 8l4 4-4 4" />
  </Line>
);
export const Check = () => (
  <Line>
    <path d="m5 12.5 4.5 4.5L19 7.5" />
  </Line>
);
export const Clock = () => (
  <svg class="tick" viewBox="0 0 18 12" aria-hidden="true">
    <circle cx="12" cy="6" r="4.5" />
    <path d="M12 3.6V6l1.6 1" />
  </svg>
);
export const OneTick = () => (
  <svg class="tick" viewBox="0 0 18 12" aria-hidden="true">
    <path d="m6.5 6.5 3 3 6-7" />
  </svg>
);
export const TwoTicks = () => (
  <svg class="tick" viewBox="0 0 18 12" aria-hidden="true">
    <path d="m1.5 6.5 3 3 6-7M8.5 9.5l6-7" />
  </svg>
);
