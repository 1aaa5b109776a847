/**
 * The toolbar over an answer, and the smaller one over the block of code that the pointer or the keyboard is at. Both float: nothing
 * moves when they appear.
 */

import type { CodeCell } from '@jupyterlab/cells';
import type { TranslationBundle } from '@jupyterlab/translation';
import { addBelowIcon, checkIcon, copyIcon, ReactWidget, refreshIcon, runIcon } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import React from 'react';

import { copyText } from '../clipboard';
import { type MenuCommand, openMenu } from '../commands/menus';
import type { InstanceView } from '../kernel/model';
import type { AnswerActions } from './answerActions';
import { type AnswerFacts, answerText, blockLabel, type CodeBlock, codeBlocks, markdownOf, others, runnable } from './answers';
import { Toolbar, type ToolbarAction } from './ToolbarView';

const COPIED_MS = 2000;
const MARGIN_PX = 2;
const BAR_PX = 32;
const MOST_INSTANCES = 30;
/** One answer is shown as Markdown, several side by side as HTML. */
const SHOWN_BLOCKS = '.jp-RenderedMarkdown pre, .jp-RenderedHTML pre';
const SCROLLERS = '.jp-WindowedPanel-outer, .jp-CodeConsole-content';
const HEARD = ['pointerover', 'pointermove', 'pointerleave', 'focusin', 'focusout'];

/** A block of code, and its element. */
interface Place {
  readonly block: CodeBlock;
  readonly pre: HTMLElement;
}

/** The block that the pointer or the keyboard is at, and where it stands. */
interface Pointed {
  readonly block: CodeBlock;
  readonly top: number;
  /** Whether the answer's own toolbar stands at the same height. */
  readonly isBeside: boolean;
}

export class AnswerBar extends ReactWidget {
  private blocks: readonly CodeBlock[] = [];
  private pointed: Pointed | null = null;
  private at = 0; // the place to which the keyboard comes
  private above = 0;
  private copied = '';
  private timer = 0;

  constructor(
    private readonly cell: CodeCell,
    private readonly actions: AnswerActions,
    private readonly trans: TranslationBundle,
    private facts: AnswerFacts,
    private data: unknown
  ) {
    super();
    this.addClass('gz-AnswerLayer');
    this.read();
  }

  /** The output has changed. While an answer arrives that happens many times a second, and nothing is drawn for it. */
  change(facts: AnswerFacts, data: unknown): void {
    const wasArriving = this.facts.state === 'arriving';
    this.facts = facts;
    this.data = data;
    if (facts.state !== 'arriving' || !wasArriving) {
      this.read();
      this.update();
    }
  }

  handleEvent(event: Event): void {
    if (event.type === 'pointerleave' || event.type === 'focusout') {
      this.point(null);
    } else if (event.target instanceof Element) {
      this.follow();
      if (event.type === 'focusin') {
        this.onFocus(event.target);
      } else {
        this.point(event.target.closest<HTMLElement>(SHOWN_BLOCKS));
      }
    }
  }

  override dispose(): void {
    window.clearTimeout(this.timer);
    super.dispose();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    for (const type of HEARD) {
      this.parent?.node.addEventListener(type, this);
    }
  }

  protected override onBeforeDetach(message: Message): void {
    for (const type of HEARD) {
      this.parent?.node.removeEventListener(type, this);
    }
    super.onBeforeDetach(message);
  }

  protected override render(): React.JSX.Element {
    const { facts, pointed, trans } = this;
    const label = facts.instance
      ? trans.__('Answer of %1 on %2', facts.model, facts.instance)
      : facts.model
        ? trans.__('Answers of %1', facts.model)
        : trans.__('Answer');
    return (
      <>
        <Toolbar className="gz-AnswerBar" label={label} actions={this.forAnswer()} />
        {this.blockBar(pointed)}
        <span className="gz-Said" role="status">
          {this.copied && trans.__('Copied')}
        </span>
      </>
    );
  }

  /** It is there while nobody points at a block, too: unseen, until the Tab key comes to it. */
  private blockBar(pointed: Pointed | null): React.JSX.Element | null {
    const { trans } = this;
    const places = this.places();
    const at = Math.min(this.at, places.length - 1);
    const block = pointed?.block ?? places[at]?.block;
    if (!block) {
      return null;
    }
    const state = pointed ? (pointed.isBeside ? ' gz-mod-beside' : '') : ' gz-mod-waiting';
    return (
      <Toolbar
        className={`gz-AnswerBar gz-BlockBar${state}`}
        label={trans.__('Block of code %1', this.labelOf(block, at))}
        description={places.length > 1 ? trans.__('The arrows up and down lead to the other blocks') : undefined}
        actions={this.forBlock(block)}
        top={pointed?.top}
        onStep={by => this.goTo(at + by)}
      />
    );
  }

  private read(): void {
    this.blocks = this.facts.state === 'arriving' ? [] : codeBlocks(markdownOf(this.data));
    this.pointed = null;
    this.at = 0;
  }

  // -- what can be done -------------------------------------------------------------------------------------------------------

  private forAnswer(): ToolbarAction[] {
    const { actions, blocks, cell, facts, trans } = this;
    const unready = this.unready();
    return [
      this.copying('answer', trans.__('Copy the answer'), () => answerText(this.data, facts)),
      {
        id: 'insert',
        name: actions.isConsole ? trans.__('Insert the code into the prompt') : trans.__('Insert the code below'),
        icon: addBelowIcon,
        unless: unready || (blocks.length ? '' : trans.__('The answer holds no code')),
        opensMenu: blocks.length > 1,
        act: (...by) => this.chooseBlocks(by, this.shown(blocks), this.allOf(blocks), some => actions.insert(cell, some))
      },
      {
        id: 'run',
        name: trans.__('Run the code in the sandbox'),
        icon: runIcon,
        unless: unready || (runnable(blocks).length ? '' : trans.__('The answer holds no Python')),
        opensMenu: runnable(blocks).length > 1,
        act: (...by) => this.chooseBlocks(by, runnable(this.shown(blocks)), trans.__('All, as one program'), some => this.runInSandbox(some))
      },
      {
        id: 'ask',
        name: trans.__('Ask again'),
        icon: refreshIcon,
        unless: unready || (actions.canAsk(cell) ? '' : trans.__('The cell is no %1 cell any more', '%%llm')),
        opensMenu: true,
        act: (...by) => openMenu(this.whomToAsk(), ...by)
      }
    ];
  }

  private forBlock(block: CodeBlock): ToolbarAction[] {
    const { actions, blocks, cell, trans } = this;
    const unready = this.unready();
    return [
      this.copying('block', trans.__('Copy this code'), () => block.code),
      {
        id: 'insert-block',
        name: actions.isConsole ? trans.__('Insert this code into the prompt') : trans.__('Insert this code below'),
        icon: addBelowIcon,
        unless: unready,
        act: () => actions.insert(cell, [block])
      },
      {
        id: 'run-block',
        name: trans.__('Run this code in the sandbox'),
        icon: runIcon,
        unless: unready || (runnable(blocks).includes(block) ? '' : trans.__('This is no Python')),
        act: () => this.runInSandbox([block])
      }
    ];
  }

  private unready(): string {
    return this.facts.state === 'arriving'
      ? this.trans.__('The answer is still arriving')
      : this.actions.isReadOnly
        ? this.trans.__('The notebook is read-only')
        : '';
  }

  private copying(id: string, name: string, text: () => string): ToolbarAction {
    const isDone = this.copied === id;
    return {
      id,
      name: isDone ? this.trans.__('Copied') : name,
      icon: isDone ? checkIcon : copyIcon,
      unless: '',
      act: () => void copyText(text()).then(() => this.sayCopied(id))
    };
  }

  private sayCopied(id: string): void {
    this.copied = id;
    this.update();
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => {
      this.copied = '';
      this.update();
    }, COPIED_MS);
  }

  private runInSandbox(blocks: readonly CodeBlock[]): void {
    void this.actions.runInSandbox(this.cell, blocks);
  }

  private chooseBlocks(
    by: [anchor: HTMLElement, byKeyboard: boolean],
    blocks: readonly CodeBlock[],
    all: string,
    act: (some: readonly CodeBlock[]) => void
  ): void {
    if (blocks.length === 1) {
      act(blocks);
    } else if (blocks.length) {
      const each = blocks.map((block, index) => entry(this.labelOf(block, index), () => act([block])));
      openMenu(all ? [entry(all, () => act(blocks)), ...each] : each, ...by);
    }
  }

  private labelOf(block: CodeBlock, index: number): string {
    const { trans } = this;
    return blockLabel(block, index, count => trans._n('%1 line', '%1 lines', count, count));
  }

  /** What inserting all blocks is called; "" where it is not possible: a prompt is one cell, of one language. */
  private allOf(blocks: readonly CodeBlock[]): string {
    const { actions, trans } = this;
    return actions.isConsole ? (runnable(blocks).length === blocks.length ? trans.__('All, one below the other') : '') : trans.__('All, each in a cell');
  }

  private whomToAsk(): MenuCommand[] {
    const { actions, cell, facts, trans } = this;
    const again = entry(trans.__('Run the cell again as it is'), () => void actions.askAgain(cell));
    const snapshot = actions.snapshot;
    if (!snapshot) {
      return [again, entry(trans.__('The instances are not known: the kernel has not loaded gleitzeit_nb'), null)];
    }
    const able = others(snapshot.instances, facts);
    if (!able.length) {
      return [again, entry(facts.model ? trans.__('No other instance has %1', facts.model) : trans.__('There is no other instance'), null)];
    }
    const asking = (instance: InstanceView): MenuCommand =>
      entry(
        trans.__('Ask %1', this.described(instance)),
        () => void actions.ask(cell, instance.id),
        trans.__('Writes --instance %1 into the first line of the cell, and runs it', instance.id)
      );
    return [again, ...able.slice(0, MOST_INSTANCES).map(asking)];
  }

  private described(instance: InstanceView): string {
    const { trans } = this;
    if (instance.draining) {
      return trans.__('%1 (draining)', instance.id);
    }
    return instance.state === 'unhealthy' || instance.breaker === 'open' ? trans.__('%1 (failing)', instance.id) : instance.id;
  }

  // -- where it floats --------------------------------------------------------------------------------------------------------

  /** Only code that is in sight: what a file hides from its reader is offered to nobody. */
  private places(): readonly Place[] {
    const shown = [...(this.parent?.node.querySelectorAll<HTMLElement>(SHOWN_BLOCKS) ?? [])];
    const left = [...this.blocks]; // of several that are the same, each stands somewhere
    return shown.flatMap(pre => {
      const at = left.findIndex(({ code }) => code.trim() === textOf(pre));
      return at < 0 ? [] : [{ block: left.splice(at, 1)[0], pre }];
    });
  }

  private shown(blocks: readonly CodeBlock[]): readonly CodeBlock[] {
    const found = new Set(this.places().map(({ block }) => block));
    return blocks.filter(block => found.has(block));
  }

  private point(pre: HTMLElement | null): void {
    if (this.node.querySelector('.gz-BlockBar :focus-visible') || (!pre && this.node.matches(':hover'))) {
      return; // the keyboard is there, or the pointer on the way to its buttons
    }
    const at = pre ? this.places().findIndex(place => place.pre === pre) : -1;
    this.standAt(at);
  }

  private onFocus(target: Element): void {
    if (target.closest('.gz-BlockBar')) {
      this.goTo(this.at, target.matches(':focus-visible'));
    } else {
      this.update(); // what the answer shows may have been typeset since
    }
  }

  private goTo(at: number, isSeen = true): void {
    const places = this.places();
    const next = (at + places.length) % Math.max(1, places.length);
    if (isSeen && places.length > 0) {
      places[next].pre.scrollIntoView({ block: 'nearest' });
      this.follow();
    }
    this.standAt(next);
  }

  /** Lets the small toolbar stand at this place, or nowhere. */
  private standAt(at: number): void {
    const place: Place | undefined = this.places()[at];
    if (!place) {
      if (this.pointed) {
        this.pointed = null;
        this.update();
      }
      return;
    }
    const { block, pre } = place;
    const top = pre.getBoundingClientRect().top - this.node.getBoundingClientRect().top + MARGIN_PX;
    const isBeside = Math.abs(top - this.above) < BAR_PX;
    const { pointed } = this;
    if (this.at !== at || pointed?.block !== block || pointed.top !== top || pointed.isBeside !== isBeside) {
      this.at = at;
      this.pointed = { block, top, isBeside };
      this.update();
    }
  }

  /** Keeps the toolbar of a long answer in the part of it that is in sight. */
  private follow(): void {
    const frame = this.node.closest('.jp-OutputArea')?.getBoundingClientRect();
    const scroller = this.node.closest(SCROLLERS)?.getBoundingClientRect();
    const box = this.node.getBoundingClientRect();
    const hidden = Math.max(frame?.top ?? 0, scroller?.top ?? 0) - box.top;
    this.above = Math.max(0, Math.min(hidden, box.height - BAR_PX));
    this.node.style.setProperty('--gz-answer-above', `${this.above}px`);
  }
}

function entry(label: string, run: MenuCommand['run'], caption = label): MenuCommand {
  return { label, caption, run };
}

function textOf(element: Element): string {
  return (element.textContent ?? '').trim();
}
