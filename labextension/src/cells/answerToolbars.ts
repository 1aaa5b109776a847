/** Puts a toolbar over every answer of the notebooks that are open, as their outputs come and go; and lets them grow without a jump. */

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ISessionContextDialogs } from '@jupyterlab/apputils';
import type { Cell, CodeCell } from '@jupyterlab/cells';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import { ITranslator, nullTranslator } from '@jupyterlab/translation';
import { Panel, type Widget } from '@lumino/widgets';

import { IGleitzeit } from '../tokens';
import { AnswerActions } from './answerActions';
import { AnswerBar } from './AnswerBar';
import { readFacts } from './answers';
import { ReadingPlace } from './readingPlace';

class AnswerToolbars {
  private readonly seen = new WeakSet<Cell>();
  private readonly bars = new WeakMap<Widget, AnswerBar>();

  constructor(
    private readonly panel: NotebookPanel,
    private readonly make: (cell: CodeCell, ...answer: Answer) => AnswerBar
  ) {
    panel.content.modelChanged.connect(this.onModel, this);
    this.onModel();
  }

  private onModel(): void {
    this.panel.content.model?.cells.changed.connect(this.onCells, this);
    this.onCells();
  }

  private onCells(): void {
    for (const cell of this.panel.content.widgets) {
      if (isCode(cell) && !this.seen.has(cell)) {
        this.seen.add(cell);
        cell.outputArea.outputLengthChanged.connect(() => this.look(cell)); // told after every change of an output, not of their number only
        this.look(cell);
      }
    }
  }

  private look(cell: CodeCell): void {
    const { model, widgets } = cell.outputArea;
    widgets.slice(0, model.length).forEach((place, index) => {
      const { metadata, data } = model.get(index);
      const facts = readFacts(metadata);
      const bar = this.bars.get(place);
      if (facts && bar) {
        bar.change(facts, data);
      } else if (facts && place instanceof Panel) {
        const made = this.make(cell, facts, data);
        this.bars.set(place, made);
        place.addClass('gz-AnswerOutput');
        place.addWidget(made);
      } else if (bar) {
        this.bars.delete(place);
        place.removeClass('gz-AnswerOutput');
        bar.dispose();
      }
    });
  }
}

type Answer = [facts: NonNullable<ReturnType<typeof readFacts>>, data: unknown];

function isCode(cell: Cell): cell is CodeCell {
  return cell.model.type === 'code';
}

export const answerToolbars: JupyterFrontEndPlugin<void> = {
  id: 'gleitzeit-nb:answers',
  description: 'Toolbars over the answers of %%llm cells: copy, insert and run their code, ask another instance.',
  autoStart: true,
  requires: [INotebookTracker],
  optional: [IGleitzeit, ISessionContextDialogs, ITranslator],
  activate: (
    _: JupyterFrontEnd,
    notebooks: INotebookTracker,
    gleitzeit: IGleitzeit | null,
    dialogs: ISessionContextDialogs | null,
    translator: ITranslator | null
  ): void => {
    const texts = translator ?? nullTranslator;
    const trans = texts.load('gleitzeit_nb');
    const watch = (panel: NotebookPanel): void => {
      const actions = new AnswerActions(panel, gleitzeit, dialogs, texts);
      new ReadingPlace(panel.content);
      new AnswerToolbars(panel, (cell, ...answer) => new AnswerBar(cell, actions, trans, ...answer));
    };
    notebooks.forEach(watch);
    notebooks.widgetAdded.connect((_, panel) => watch(panel));
  }
};
