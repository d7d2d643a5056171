import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { Close } from "./icons.tsx";

interface Props {
  title: string;
  onClose: () => void;
  children: ComponentChildren;
}

/**
 * A modal: focus stays inside, Escape and a click beside it close it, and the
 * focus goes back to where it was.
 *
 * It is open exactly while it is rendered. The browser closing it by itself
 * would tell so only in a later task, and a shortcut pressed in between would
 * be lost: the owner would still take it for open.
 */
export function Dialog({ title, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => element?.close();
  }, []);
  return (
    <dialog
      ref={dialog}
      aria-label={title}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClose={(event) => event.currentTarget.isConnected && onClose()}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      <div class="dialog-body">
        <header class="dialog-head">
          <h2>{title}</h2>
          <button type="button" class="round" onClick={onClose} aria-label="Close">
            <Close />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
