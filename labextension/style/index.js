import './base.css';
import './answers.css';
import './sections.css';
