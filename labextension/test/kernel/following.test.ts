import type { JupyterFrontEnd } from '@jupyterlab/application';
import type { IConsoleTracker } from '@jupyterlab/console';
import { expect, test } from '@jest/globals';
import type { INotebookTracker } from '@jupyterlab/notebook';
import { Signal } from '@lumino/signaling';

import { Following, type Place, speaksOfUs } from '../../src/kernel/following';

/** A tab of the page. */
class Tab {
  isDisposed = false;
  readonly disposed = new Signal<this, void>(this);
  readonly title: { label: string; readonly changed: Signal<object, void> };
  readonly sessionContext = { session: { kernel: { id: 'k' } } };

  constructor(label: string) {
    this.title = { label, changed: new Signal<object, void>(this) };
  }

  dispose(): void {
    this.isDisposed = true;
    this.disposed.emit();
  }
}

class Tracker {
  readonly tabs: Tab[] = [];
  currentWidget: Tab | null = null;
  readonly currentChanged = new Signal<this, void>(this);

  find(test: (tab: Tab) => boolean): Tab | undefined {
    return this.tabs.find(test);
  }

  forEach(each: (tab: Tab) => void): void {
    this.tabs.forEach(each);
  }
}

function page() {
  const shell = { currentWidget: null as Tab | null, currentChanged: new Signal<object, void>({}) };
  const [notebooks, consoles] = [new Tracker(), new Tracker()];
  const following = new Following(
    shell as unknown as JupyterFrontEnd.IShell,
    notebooks as unknown as INotebookTracker,
    consoles as unknown as IConsoleTracker
  );
  const told: string[] = [];
  following.changed.connect((_, place) => told.push(place ? `${place.kind} ${following.label}` : 'nothing'));
  const go = (tab: Tab | null): void => {
    shell.currentWidget = tab;
    shell.currentChanged.emit();
  };
  const open = (tracker: Tracker, label: string): Tab => {
    const tab = new Tab(label);
    tracker.tabs.push(tab);
    go(tab);
    return tab;
  };
  return { following, notebooks, consoles, told, go, open };
}

test('the notebook or console that a person goes to is followed', () => {
  const { notebooks, consoles, told, go, open } = page();
  const a = open(notebooks, 'a.ipynb');
  open(consoles, 'Console 1');
  go(a);
  expect(told).toEqual(['notebook a.ipynb', 'console Console 1', 'notebook a.ipynb']);
});

test('another tab changes nothing, nor the same again', () => {
  const { following, notebooks, told, go, open } = page();
  const a = open(notebooks, 'a.ipynb');
  go(new Tab('notes.txt'));
  go(null);
  go(a);
  expect(told).toEqual(['notebook a.ipynb']);
  expect(following.label).toBe('a.ipynb');
});

test('another name is told, and that of a tab that was left is not', () => {
  const { notebooks, told, open } = page();
  const a = open(notebooks, 'a.ipynb');
  a.title.label = 'b.ipynb';
  a.title.changed.emit();
  open(notebooks, 'c.ipynb');
  a.title.changed.emit();
  expect(told).toEqual(['notebook a.ipynb', 'notebook b.ipynb', 'notebook c.ipynb']);
});

test('of a tab that is closed the next is followed, and then none', () => {
  const { notebooks, consoles, told, go, open } = page();
  const a = open(notebooks, 'a.ipynb');
  const console = open(consoles, 'Console 1');
  go(null);
  notebooks.currentWidget = a;
  console.dispose();
  notebooks.currentWidget = null;
  a.dispose();
  expect(told.slice(2)).toEqual(['notebook a.ipynb', 'nothing']);
});

test('every connection of the page to a kernel is known', () => {
  const { following, notebooks, consoles, open } = page();
  open(notebooks, 'a.ipynb');
  open(consoles, 'Console 1');
  Object.assign(open(notebooks, 'without a kernel').sessionContext, { session: null });
  expect([...following.connections()]).toHaveLength(2);
});

test('a notebook speaks of us when a cell of code does', () => {
  const cell = (type: string, source: string): object => ({ type, sharedModel: { source } });
  const speaks = (...cells: object[]): boolean => speaksOfUs({ kind: 'notebook', widget: { content: { model: { cells } } } } as unknown as Place);
  expect(speaks(cell('code', 'x = 1'), cell('code', 'y\n%%llm -m a\nhi'))).toBe(true);
  expect(speaks(cell('code', '%load_ext gleitzeit_nb'))).toBe(true);
  expect(speaks(cell('code', '%sandbox status'))).toBe(true);
  expect(speaks(cell('markdown', 'Use %%llm'), cell('code', '%%llms'))).toBe(false);
  expect(speaks()).toBe(false);
});

test('a console speaks of us by what was run in it', () => {
  const cells = [{ model: { type: 'code', sharedModel: { source: '%gleitzeit status' } } }];
  expect(speaksOfUs({ kind: 'console', widget: { console: { cells } } } as unknown as Place)).toBe(true);
});
