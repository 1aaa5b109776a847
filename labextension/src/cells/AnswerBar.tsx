/** The toolbar over an answer, and the smaller one over the block of code under the pointer. Both float: nothing moves when they appear. */

import type { CodeCell } from '@jupyterlab/cells';
import type { TranslationBundle } from '@jupyterlab/translation';
import { addBelowIcon, checkIcon, copyIcon, ReactWidget, refreshIcon, runIcon } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import React from 'react';

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

/** The block under the pointer, and where it stands. */
interface Pointed {
  readonly block: CodeBlock;
  readonly top: number;
  /** Whether the answer's own toolbar stands at the same height. */
  readonly isBeside: boolean;
}

export class AnswerBar extends ReactWidget {
  private blocks: readonly CodeBlock[] = [];
  private pointed: Pointed | null = null;
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
    if (event.type === 'pointerleave') {
      this.point(null);
    } else if (event.target instanceof Element) {
      this.follow();
      this.point(event.target.closest<HTMLElement>(SHOWN_BLOCKS));
    }
  }

  override dispose(): void {
    window.clearTimeout(this.timer);
    super.dispose();
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    for (const type of ['pointerover', 'pointermove', 'pointerleave', 'focusin']) {
      this.parent?.node.addEventListener(type, this);
    }
  }

  protected override onBeforeDetach(message: Message): void {
    for (const type of ['pointerover', 'pointermove', 'pointerleave', 'focusin']) {
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
        {pointed && (
          <Toolbar
            className={`gz-AnswerBar gz-BlockBar${pointed.isBeside ? ' gz-mod-beside' : ''}`}
            label={trans.__('Block of code')}
            actions={this.forBlock(pointed.block)}
            top={pointed.top}
          />
        )}
        <span className="gz-Said" role="status">
          {this.copied && trans.__('Copied')}
        </span>
      </>
    );
  }

  private read(): void {
    this.blocks = this.facts.state === 'arriving' ? [] : codeBlocks(markdownOf(this.data));
    this.pointed = null;
  }

  // -- what can be done -------------------------------------------------------------------------------------------------------

  private forAnswer(): ToolbarAction[] {
    const { actions, blocks, cell, facts, trans } = this;
    const unready = this.unready();
    return [
      this.copying('answer', trans.__('Copy the answer'), () => answerText(this.data, facts)),
      {
        id: 'insert',
        name: trans.__('Insert the code below'),
        icon: addBelowIcon,
        unless: unready || (blocks.length ? '' : trans.__('The answer holds no code')),
        opensMenu: blocks.length > 1,
        act: (...by) => this.chooseBlocks(by, this.shown(blocks), trans.__('All, each in a cell'), some => actions.insert(cell, some))
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
        name: trans.__('Insert this code below'),
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
      act: () => void this.actions.copy(text()).then(() => this.sayCopied(id))
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
    const { trans } = this;
    if (blocks.length === 1) {
      act(blocks);
    } else if (blocks.length) {
      const lines = (count: number): string => trans._n('%1 line', '%1 lines', count, count);
      const each = blocks.map((block, index) => entry(blockLabel(block, index, lines), () => act([block])));
      openMenu([entry(all, () => act(blocks)), ...each], ...by);
    }
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
  private shown(blocks: readonly CodeBlock[]): readonly CodeBlock[] {
    const texts = new Set([...(this.parent?.node.querySelectorAll(SHOWN_BLOCKS) ?? [])].map(textOf));
    return blocks.filter(block => texts.has(block.code.trim()));
  }

  private point(pre: HTMLElement | null): void {
    if (!pre && this.node.matches(':hover')) {
      return; // on the way to its own buttons
    }
    const block = pre && this.blocks.find(each => each.code.trim() === textOf(pre));
    const top = pre ? pre.getBoundingClientRect().top - this.node.getBoundingClientRect().top + MARGIN_PX : 0;
    const isBeside = Math.abs(top - this.above) < BAR_PX;
    const { pointed } = this;
    if (block ? pointed?.block !== block || pointed.top !== top || pointed.isBeside !== isBeside : pointed) {
      this.pointed = block ? { block, top, isBeside } : null;
      this.update();
    }
  }

  /** Keeps the toolbar of a long answer in the part of it that is in sight. */
  private follow(): void {
    const frame = this.node.closest('.jp-OutputArea')?.getBoundingClientRect();
    const scroller = this.node.closest('.jp-WindowedPanel-outer')?.getBoundingClientRect();
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
