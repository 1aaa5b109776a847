/** What the kernel answered to what a person told it, at the foot of the panel, where it moves nothing. */

import type { TranslationBundle } from '@jupyterlab/translation';
import React from 'react';

import type { Status } from '../format';
import { Sign } from './ElementsView';
import type { Order, Outcome } from './orders';

const SIGNS: Record<Outcome, Status> = { sent: 'unknown', waiting: 'draining', started: 'unknown', done: 'ok', failed: 'failed' };

interface NoticesProps {
  readonly orders: readonly Order[];
  readonly mustWait: boolean;
  /** Why what is shown may not be true any more; "" when it is. */
  readonly warning: string;
  readonly trans: TranslationBundle;
  readonly onDismiss: (id: number) => void;
}

/** There also while it is empty: a screen reader tells only what comes into a place that it knows. */
export const Notices = React.memo(function Notices({ orders, mustWait, warning, trans, onDismiss }: NoticesProps): React.JSX.Element {
  return (
    <div className="gz-Notices">
      <div role="status" aria-label={trans.__('What came of it')}>
        {warning && (
          <div className="gz-Notice gz-mod-degraded">
            <Sign status="degraded" />
            <span>{warning}</span>
          </div>
        )}
        {orders.map(order => (
          <Notice key={order.id} order={order} mustWait={mustWait} trans={trans} onDismiss={onDismiss} />
        ))}
      </div>
    </div>
  );
});

interface NoticeProps {
  readonly order: Order;
  readonly mustWait: boolean;
  readonly trans: TranslationBundle;
  readonly onDismiss: (id: number) => void;
}

function Notice({ order, mustWait, trans, onDismiss }: NoticeProps): React.JSX.Element {
  const text = words(order, trans, mustWait);
  const sign = SIGNS[order.outcome];
  return (
    <div className={`gz-Notice gz-mod-${sign}`} data-outcome={order.outcome}>
      <Sign status={sign} />
      <span>{text}</span>
      {order.endedAt !== null && (
        <button className="gz-button gz-Dismiss" aria-label={trans.__('Dismiss: %1', text)} onClick={() => onDismiss(order.id)}>
          ×
        </button>
      )}
    </div>
  );
}

/** `mustWait`: a cell runs that has to end first. */
export function words({ action, outcome, text }: Order, trans: TranslationBundle, mustWait = false): string {
  if (outcome === 'waiting' && mustWait) {
    return trans.__('%1: waits until the running cell has ended', action.saying);
  }
  return text || (outcome === 'done' ? trans.__('%1: done', action.label) : `${action.saying} …`);
}
