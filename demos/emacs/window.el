;;; window.el --- Emacs opens a window of Python's and hears from it  -*- lexical-binding: t -*-

;; In Emacs:       M-x load-file RET window.el RET, then type into the window and press its button
;; In a terminal:  emacs --batch -l window.el
;; Without screen: xvfb-run emacs --batch -l window.el

;;; Code:

(require 'epc)

(defvar window-demo-folder (file-name-directory (or load-file-name buffer-file-name)))
(defvar window-demo-heard nil "What the window has told, last first.")
(defvar window-demo
  (epc:start-epc (or (getenv "PYTHON") "python3")
                 (list (expand-file-name "window.py" window-demo-folder)))
  "The connection to the Python program.")

(epc:define-method window-demo 'clicked
                   (lambda (text)
                     (push text window-demo-heard)
                     (message "The window says: %s" text)))

(epc:call-sync window-demo 'show '("Hello from Emacs"))

(when noninteractive
  (let ((size (epc:call-sync window-demo 'size nil)))
    (princ (format "the window is %s\n" (if (and (> (car size) 100) (> (cadr size) 50))
                                            "open" size))))
  (epc:call-sync window-demo 'fill '("typed \"text\""))
  (epc:call-sync window-demo 'press nil)
  (with-timeout (10 (error "The window says nothing"))
    (while (not window-demo-heard) (accept-process-output nil 0.05)))
  (princ (format "heard %S\n" window-demo-heard))
  (epc:stop-epc window-demo)
  (princ "closed\n"))

;;; window.el ends here
