/**
 * Keeps what one reads where it is while an answer grows out of sight. JupyterLab lets the browser hold the page by the active cell
 * alone, which holds nothing once that cell is scrolled away: then any cell that is in sight may (style/answers.css).
 */

import type { Notebook } from '@jupyterlab/notebook';

const AWAY = 'gz-mod-away';

export class ReadingPlace {
  private readonly observer: IntersectionObserver;

  constructor(private readonly notebook: Notebook) {
    this.observer = new IntersectionObserver(entries => this.onMoved(entries), { root: notebook.outerNode });
    notebook.activeCellChanged.connect(this.follow, this);
    notebook.disposed.connect(() => this.observer.disconnect());
    this.follow();
  }

  private follow(): void {
    this.observer.disconnect();
    const { activeCell } = this.notebook;
    if (activeCell) {
      this.observer.observe(activeCell.node); // which tells at once where it is
    }
  }

  private onMoved(entries: readonly IntersectionObserverEntry[]): void {
    const last = entries[entries.length - 1];
    this.notebook.toggleClass(AWAY, !last.isIntersecting);
  }
}
