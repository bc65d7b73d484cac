/// The numbers of this processor in ELF files.
enum ELFMachine {
  /// What a relocation does.
  enum Relocation: Equatable {
    case none
    /// Stores the image's address plus the addend.
    case relative
    /// Stores the address of a symbol plus the addend.
    case symbol
    /// Stores a number that is made from a symbol, in four bytes or eight.
    case number(size: UInt64)
    /// Stores the number of the symbol's thread-local block, or its offset in the block.
    case threadLocal
    /// Stores an offset from the thread's pointer: the block is in the static area.
    case staticThreadLocal
    /// Stores two words: a function and its argument.
    case threadLocalDescriptor
    /// Calls the function at the image's address plus the addend, and stores the result.
    case resolver
  }

  #if arch(x86_64)
    /// `EM_X86_64`.
    static let number: UInt16 = 62

    static func relocation(_ type: UInt32) -> Relocation? {
      switch type {
      case 0: Relocation.none
      // R_X86_64_RELATIVE; R_X86_64_64, GLOB_DAT, JUMP_SLOT.
      case 8: .relative
      case 1, 6, 7: .symbol
      // R_X86_64_PC32, 32 and SIZE32; SIZE64.
      case 2, 10, 32: .number(size: 4)
      case 33: .number(size: 8)
      // R_X86_64_DTPMOD64, DTPOFF64; TPOFF64; TLSDESC; IRELATIVE.
      case 16, 17: .threadLocal
      case 18: .staticThreadLocal
      case 36: .threadLocalDescriptor
      case 37: .resolver
      default: nil
      }
    }
  #elseif arch(arm64)
    /// `EM_AARCH64`.
    static let number: UInt16 = 183

    static func relocation(_ type: UInt32) -> Relocation? {
      switch type {
      case 0, 256: Relocation.none
      // R_AARCH64_RELATIVE; ABS64, GLOB_DAT, JUMP_SLOT; ABS32.
      case 1027: .relative
      case 257, 1025, 1026: .symbol
      case 258: .number(size: 4)
      // R_AARCH64_TLS_DTPMOD, DTPREL; TPREL; TLSDESC; IRELATIVE.
      case 1028, 1029: .threadLocal
      case 1030: .staticThreadLocal
      case 1031: .threadLocalDescriptor
      case 1032: .resolver
      default: nil
      }
    }
  #elseif arch(riscv64)
    /// `EM_RISCV`.
    static let number: UInt16 = 243

    static func relocation(_ type: UInt32) -> Relocation? {
      switch type {
      case 0: Relocation.none
      // R_RISCV_RELATIVE; 64, JUMP_SLOT; 32.
      case 3: .relative
      case 2, 5: .symbol
      case 1: .number(size: 4)
      // R_RISCV_TLS_DTPMOD64, DTPREL64; TPREL64; TLSDESC; IRELATIVE.
      case 7, 9: .threadLocal
      case 11: .staticThreadLocal
      case 12: .threadLocalDescriptor
      case 58: .resolver
      default: nil
      }
    }
  #else
    #error("name this processor's e_machine and relocations")
  #endif
}

extension ELFMachine.Relocation {
  /// How many bytes it stores.
  var size: UInt64 {
    switch self {
    case .none: 0
    case .number(let size): size
    case .threadLocalDescriptor: 16
    default: 8
    }
  }

  var isThreadLocal: Bool {
    self == .threadLocal || self == .staticThreadLocal || self == .threadLocalDescriptor
  }
}
