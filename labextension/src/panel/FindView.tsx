/** What finds an instance among many: words that it must have, and an order. */

import React from 'react';

import type { InstanceView } from '../kernel/model';
import { type InstanceOrder, ORDERS } from '../settings/settings';
import { asBefore, ordered } from './instanceOrder';
import { Moment, Sections, useTools } from './PanelContext';

const SETTLED_S = 5; // rows that follow a figure change their places no more often

interface FindProps {
  readonly words: string;
  readonly onWords: (words: string) => void;
  readonly found: number;
  readonly total: number;
}

export function Find({ words, onWords, found, total }: FindProps): React.JSX.Element {
  const { trans } = useTools();
  const { order, setOrder } = React.useContext(Sections);
  const names: Record<InstanceOrder, string> = {
    configured: trans.__('As configured'),
    name: trans.__('By name'),
    status: trans.__('Failing first'),
    load: trans.__('Busiest first'),
    latency: trans.__('Slowest first'),
    errors: trans.__('Most errors first'),
    tokens: trans.__('Most tokens/s first')
  };
  return (
    <div className="gz-Find" role="search" aria-label={trans.__('Find instances')}>
      <input
        type="search"
        aria-label={trans.__('Filter instances')}
        placeholder={trans.__('Name, tag, model …')}
        value={words}
        onChange={event => onWords(event.target.value)}
      />
      <select aria-label={trans.__('Order of instances')} value={order} onChange={event => setOrder(ORDERS.find(each => each === event.target.value) ?? order)}>
        {ORDERS.map(each => (
          <option key={each} value={each}>
            {names[each]}
          </option>
        ))}
      </select>
      <span role="status" className={words ? 'gz-muted' : 'gz-hidden'}>
        {words && trans.__('%1 of %2', found, total)}
      </span>
    </div>
  );
}

/** The instances in that order. It holds still while somebody points into it or has the focus there, and for some seconds. */
export function useSteadyOrder(
  instances: readonly InstanceView[],
  order: InstanceOrder,
  body: React.RefObject<HTMLElement>
): readonly InstanceView[] {
  const now = React.useContext(Moment);
  const shown = React.useRef<{ order: InstanceOrder; at: number; ids: readonly string[] } | null>(null);
  const { current } = shown;
  const isUsed = body.current?.matches(':hover, :focus-within') ?? false;
  const isSettled = current?.order === order && (isUsed || (now >= current.at && now - current.at < SETTLED_S));
  const rows = isSettled ? asBefore(instances, current.ids) : ordered(instances, order);
  React.useLayoutEffect(() => {
    shown.current = { order, at: isSettled ? current.at : now, ids: rows.map(({ id }) => id) };
  });
  return rows;
}
