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

/**
 * Buttons of which one is a stop of the Tab key; the arrows lead to the others.
 * A key alone is theirs and not JupyterLab's (D twice would delete the cell); with Ctrl, Cmd or Alt it is JupyterLab's. It may
 * look at keys before they reach any element, so that has to be said at the window.
 */
export function Toolbar(props: {
  readonly className: string;
  readonly label: string;
  readonly actions: readonly ToolbarAction[];
  readonly top?: number;
  /** What the arrows up and down do, where they do anything. */
  readonly onStep?: (by: -1 | 1) => void;
  /** What else there is to know, for those who do not see it. */
  readonly description?: string;
}): React.JSX.Element {
  const [stop, setStop] = React.useState(0);
  const buttons = React.useRef<(HTMLButtonElement | null)[]>([]);
  const [guard] = React.useState(() => (event: KeyboardEvent) => {
    const button = buttons.current.find(each => each === event.target);
    button?.toggleAttribute('data-lm-suppress-shortcuts', !(event.ctrlKey || event.metaKey || event.altKey));
  });
  React.useEffect(() => () => window.removeEventListener('keydown', guard, true), [guard]);
  const onKeyDown = (event: React.KeyboardEvent): void => {
    const { length } = props.actions;
    const next = { ArrowRight: (stop + 1) % length, ArrowLeft: (stop + length - 1) % length, Home: 0, End: length - 1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      event.stopPropagation();
      setStop(next);
      buttons.current[next]?.focus();
    } else if (props.onStep && (event.key === 'ArrowUp' || event.key === 'ArrowDown')) {
      event.preventDefault();
      event.stopPropagation();
      props.onStep(event.key === 'ArrowUp' ? -1 : 1);
    }
  };
  return (
    <div
      className={props.className}
      role="toolbar"
      aria-label={props.label}
      aria-description={props.description}
      style={props.top === undefined ? undefined : { top: props.top }}
      onFocus={() => window.addEventListener('keydown', guard, true)}
      onBlur={() => window.removeEventListener('keydown', guard, true)}
      onKeyDown={onKeyDown}
    >
      {props.actions.map((action, index) => (
        <button
          key={action.id}
          ref={element => {
            buttons.current[index] = element;
          }}
          type="button"
          aria-label={action.name}
          aria-disabled={action.unless !== ''}
          aria-haspopup={action.opensMenu ? 'menu' : undefined}
          title={action.unless ? `${action.name}: ${action.unless}` : action.name}
          tabIndex={index === stop ? 0 : -1}
          onFocus={() => setStop(index)}
          onClick={event => {
            if (!action.unless) {
              action.act(event.currentTarget, event.detail === 0);
            }
          }}
        >
          <action.icon.react tag="span" width="16px" height="16px" />
        </button>
      ))}
    </div>
  );
}
