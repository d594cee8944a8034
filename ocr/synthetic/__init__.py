"""Receipts that are drawn: pages with text and polygons, and photographs of them."""

from ocr.synthetic.receipts import Receipt, draw_receipt, generate
