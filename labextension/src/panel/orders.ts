/** What a person told the kernel from the panel, and what came of it. Pure: the line to the kernel and the time come in from outside. */

import { type Action, keyOf } from '../commands/actions';
import type { Answer, Command } from '../kernel/model';
import type { Progress } from '../kernel/requests';

/**
 * sent ─ tell ─→ waiting | started;   any of these ─ answer ─→ done | failed
 * waiting: the running cell has to end first. started: the kernel is at it, and it takes a while.
 */
export type Outcome = 'sent' | 'waiting' | 'started' | 'done' | 'failed';

export interface Order {
  readonly id: number;
  readonly action: Action;
  readonly outcome: Outcome;
  /** The kernel's words, or why there are none; "" before it said any. */
  readonly text: string;
  readonly endedAt: number | null;
}

type Ask = (command: Command, tell: (progress: Progress) => void) => Promise<Answer>;

export const SHOWN_MS = 12_000; // of what was done; what failed stays until it is dismissed
const MOST_ENDED = 3;

export class Orders {
  private orders: readonly Order[] = [];
  private keys: ReadonlySet<string> = new Set<string>();
  private count = 0;

  /** `changed` hears every order at each of its outcomes, and null when one is gone. */
  constructor(
    private readonly ask: Ask,
    private readonly whyNot: (error: unknown, action: Action) => string,
    private readonly now: () => number,
    private readonly changed: (order: Order | null) => void
  ) {}

  /** The oldest first. */
  get shown(): readonly Order[] {
    return this.orders;
  }

  /** Those without an answer, by `keyOf` their command. The same set as long as it holds the same. */
  get pending(): ReadonlySet<string> {
    return this.keys;
  }

  give(action: Action): void {
    if (this.keys.has(keyOf(action.command))) {
      return;
    }
    const id = ++this.count;
    this.put({ id, action, outcome: 'sent', text: '', endedAt: null });
    const end = (outcome: 'done' | 'failed', text: string): void => this.move(id, { outcome, text, endedAt: this.now() });
    this.ask(action.command, progress => this.move(id, { outcome: progress.kind, text: progress.kind === 'started' ? progress.text : '' })).then(
      answer => end('done', answer.text),
      error => end('failed', this.whyNot(error, action))
    );
  }

  /** Says of something that was asked for why it was not even begun. */
  note(action: Action, text: string): void {
    this.put({ id: ++this.count, action, outcome: 'done', text, endedAt: this.now() });
  }

  dismiss(id: number): void {
    this.keep(this.orders.filter(order => order.id !== id));
  }

  /** Takes away what was done long enough ago. */
  prune(): void {
    const now = this.now();
    this.keep(this.orders.filter(({ outcome, endedAt }) => outcome !== 'done' || endedAt === null || now - endedAt < SHOWN_MS));
  }

  private put(order: Order): void {
    const ended = this.orders.filter(({ endedAt }) => endedAt !== null);
    const gone = new Set(ended.slice(0, Math.max(0, ended.length - MOST_ENDED + 1)));
    this.set([...this.orders.filter(each => !gone.has(each)), order]);
    this.changed(order);
  }

  private move(id: number, changes: Partial<Order>): void {
    const before = this.orders.find(order => order.id === id);
    if (before) {
      const after = { ...before, ...changes };
      this.set(this.orders.map(order => (order === before ? after : order)));
      this.changed(after);
    }
  }

  private keep(orders: readonly Order[]): void {
    if (orders.length !== this.orders.length) {
      this.set(orders);
      this.changed(null);
    }
  }

  private set(orders: readonly Order[]): void {
    this.orders = orders;
    const keys = orders.filter(({ endedAt }) => endedAt === null).map(({ action }) => keyOf(action.command));
    if (keys.length !== this.keys.size || keys.some(key => !this.keys.has(key))) {
      this.keys = new Set(keys);
    }
  }
}
