/** Times that go on between two snapshots. Only these are drawn again each second. */

import React from 'react';

import { timeOfDay, UNKNOWN, wholeSeconds } from '../format';
import { Age, Moment, useTools } from './PanelContext';

/** Seconds since that time of the kernel's clock. */
function useSince(at: number): number {
  return React.useContext(Moment) + React.useContext(Age) - at;
}

/** "14 s". */
export function Since({ at }: { readonly at: number }): React.JSX.Element {
  return <>{wholeSeconds(useSince(at))}</>;
}

/** "14 s ago". */
export function Ago({ at }: { readonly at: number }): React.JSX.Element {
  const { trans } = useTools();
  return <>{trans.__('%1 ago', wholeSeconds(useSince(at)))}</>;
}

/** A time of day, with the whole of it in its title. */
export function At({ at }: { readonly at: number }): React.JSX.Element {
  const moment = new Date(at * 1000);
  if (Number.isNaN(moment.getTime())) {
    return <>{UNKNOWN}</>;
  }
  return (
    <time dateTime={moment.toISOString()} title={moment.toLocaleString()}>
      {timeOfDay(at)}
    </time>
  );
}
