/** A toolbar of icons that is one stop of the Tab key. */

import type { LabIcon } from '@jupyterlab/ui-components';
import React from 'react';

export interface ToolbarAction {
  readonly id: string;
  readonly name: string;
  readonly icon: LabIcon;
  /** Why it cannot be done now; "" when it can. */
  readonly unless: string;
  readonly opensMenu?: boolean;
  readonly act: (anchor: HTMLElement, byKeyboard: boolean) => void;
}

interface ToolbarProps {
  readonly className: string;
  readonly label: string;
  readonly actions: readonly ToolbarAction[];
  readonly top?: number;
  /** What the arrows up and down do, where they do anything. */
  readonly onStep?: (by: -1 | 1) => void;
  /** What else there is to know, for those who do not see it. */
  readonly description?: string;
}

/** Buttons of which one is a stop of the Tab key; the arrows lead to the others. */
export function Toolbar({ className, label, actions, top, onStep, description }: ToolbarProps): React.JSX.Element {
  const [stop, setStop] = React.useState(0);
  const buttons = React.useRef<(HTMLButtonElement | null)[]>([]);
  const guard = useKeyGuard(buttons);
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const { length } = actions;
    const next = { ArrowRight: (stop + 1) % length, ArrowLeft: (stop + length - 1) % length, Home: 0, End: length - 1 }[event.key];
    const step = event.key === 'ArrowUp' ? -1 : event.key === 'ArrowDown' ? 1 : null;
    if (next !== undefined) {
      setStop(next);
      buttons.current[next]?.focus();
    } else if (step !== null && onStep) {
      onStep(step);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <div
      className={className}
      role="toolbar"
      aria-label={label}
      aria-description={description}
      style={top === undefined ? undefined : { top }}
      onFocus={guard.begin}
      onBlur={guard.end}
      onKeyDown={onKeyDown}
    >
      {actions.map((action, index) => (
        <ToolbarButton
          key={action.id}
          action={action}
          isStop={index === stop}
          onFocus={() => setStop(index)}
          take={element => {
            buttons.current[index] = element;
          }}
        />
      ))}
    </div>
  );
}

/**
 * A key alone is the button's and not JupyterLab's (D twice would delete the cell); with Ctrl, Cmd or Alt it is JupyterLab's. That may
 * look at keys before they reach any element, so it has to be said at the window, from `begin` to `end`.
 */
function useKeyGuard(buttons: React.RefObject<readonly (HTMLButtonElement | null)[]>): { readonly begin: () => void; readonly end: () => void } {
  const [guard] = React.useState(() => {
    const onKey = (event: KeyboardEvent): void => {
      const button = buttons.current?.find(each => each === event.target);
      button?.toggleAttribute('data-lm-suppress-shortcuts', !(event.ctrlKey || event.metaKey || event.altKey));
    };
    return {
      begin: () => window.addEventListener('keydown', onKey, true),
      end: () => window.removeEventListener('keydown', onKey, true)
    };
  });
  React.useEffect(() => guard.end, [guard]);
  return guard;
}

interface ButtonProps {
  readonly action: ToolbarAction;
  readonly isStop: boolean;
  readonly onFocus: () => void;
  readonly take: (element: HTMLButtonElement | null) => void;
}

function ToolbarButton({ action, isStop, onFocus, take }: ButtonProps): React.JSX.Element {
  const { act, icon, name, opensMenu, unless } = action;
  return (
    <button
      ref={take}
      type="button"
      aria-label={name}
      aria-disabled={unless !== ''}
      aria-haspopup={opensMenu ? 'menu' : undefined}
      title={unless ? `${name}: ${unless}` : name}
      tabIndex={isStop ? 0 : -1}
      onFocus={onFocus}
      onClick={event => {
        if (!unless) {
          act(event.currentTarget, event.detail === 0);
        }
      }}
    >
      <icon.react tag="span" width="16px" height="16px" />
    </button>
  );
}
