/** A button that does one thing of the kernel's, and shows when the kernel has not answered yet. */

import React from 'react';

import { type Action, keyOf } from '../commands/actions';
import type { MenuEntry } from '../commands/menus';
import { Pending, useTools } from './PanelContext';

export function ActionButton({ action, text }: { readonly action: Action; readonly text: string }): React.JSX.Element {
  const { act } = useTools();
  const waiting = React.useContext(Pending).has(keyOf(action.command));
  return (
    <button
      className="gz-button"
      aria-label={action.label}
      aria-disabled={waiting}
      title={waiting ? `${action.saying} …` : action.caption}
      onClick={() => {
        if (!waiting) {
          act(action);
        }
      }}
    >
      {waiting ? `${text} …` : text}
    </button>
  );
}

/** The one button of a row that has a menu. */
export function MenuButton({ label, entries }: { readonly label: string; readonly entries: () => readonly MenuEntry[] }): React.JSX.Element {
  const { openMenu } = useTools();
  return (
    <button
      className="gz-button gz-MenuButton"
      aria-haspopup="menu"
      aria-label={label}
      onClick={event => openMenu(entries(), event.currentTarget, event.detail === 0)}
    >
      ⋯
    </button>
  );
}
